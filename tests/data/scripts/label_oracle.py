"""Recomputes label matrices from an exported model by numpy and compares them with what smooth wrote.

  python label_oracle.py EXPORTED MATRIX...

Cosines, weights and normalisers in fp64 from the safetensors file's last layer; the files are read with
h5py as docs/label_matrix_format.md says.
"""
import glob
import json
import sys

import h5py
import numpy
from safetensors.numpy import load_file


def matrix(folder):
    """The rows of all files: begin, ids, weights, normaliser, discarded, status."""
    parts = []
    for path in sorted(glob.glob(f"{folder}/labels-*.h5")):
        with h5py.File(path) as file:
            assert file.attrs["retort_kind"] in (b"label_rows", "label_rows"), path
            parts.append({name: file[name][:] for name in file})
    begin = [0]
    for part in parts:
        begin += list(begin[-1] + part["row_ptr"][1:].astype(int))
    joined = {name: numpy.concatenate([part[name] for part in parts])
              for name in ("class_id", "weight", "normaliser", "discarded", "status")}
    return numpy.array(begin), joined


def weights_of(cosine, facts):
    if facts["negatives"] == "shift":
        return (1 + cosine) / 2
    if facts["negatives"] == "softmax":
        return numpy.exp((cosine - 1) / facts["temperature"])
    return numpy.where(cosine > facts["floor"], cosine, 0)


def compare(columns, folder):
    facts = json.load(open(f"{folder}/manifest.json"))["facts"]
    norm = numpy.linalg.norm(columns, axis=1)
    cosine = numpy.clip(columns @ columns.T / norm[:, None] / norm[None, :], -1, 1)
    weight = weights_of(cosine, facts)
    own = numpy.arange(len(columns))
    weight[own, own] = 1 if facts["self"] == "keep" else 0
    total = weight.sum(1)
    begin, rows = matrix(folder)
    assert len(begin) == len(columns) + 1 and (rows["status"] == 0).all()
    bound = 1e-12 + len(columns) * facts["cosine_bound"]
    if facts["negatives"] == "softmax":
        bound += total.max() * numpy.expm1(facts["cosine_bound"] / facts["temperature"])
    words = rows["normaliser"].astype(object)
    normaliser = numpy.array([(int(a) + (int(b) << 64) + (int(c) << 128)) / 2**144 for a, b, c in words])
    numpy.testing.assert_allclose(normaliser, total, rtol=0, atol=bound)
    for k in own:
        ids, w = (rows[name][begin[k]:begin[k + 1]] for name in ("class_id", "weight"))
        numpy.testing.assert_allclose(w, weight[k, ids], rtol=1e-9, atol=0)
        others = ids if facts["self"] == "exclude" else ids[1:]
        assert facts["self"] == "exclude" or ids[0] == k
        most = facts["top_m"] - (facts["self"] == "keep")
        wanted = min(most, int((weight[k] > 0).sum()) - (facts["self"] == "keep"))
        assert len(others) == wanted, (k, len(others), wanted)
        left = numpy.delete(cosine[k], numpy.append(others, k))
        if len(left) and len(others):  # nothing better was left out
            assert cosine[k, others].min() >= left.max() - 1e-12, k
        assert abs(rows["discarded"][k] - (1 - w.sum() / total[k])) < 1e-9 + bound / total[k], k
    print(f"{folder}: {len(columns)} rows as numpy has them, {len(rows['weight'])} entries")


def main():
    tensors = load_file(f"{sys.argv[1]}/model.safetensors")
    classes = len(json.load(open(f"{sys.argv[1]}/model.json"))["class_names"])
    heads = [t for t in tensors.values() if t.ndim == 2 and t.shape[0] == classes]
    assert len(heads) == 1
    for folder in sys.argv[2:]:
        compare(heads[0].astype(numpy.float64), folder)


if __name__ == "__main__":
    main()
