#!/usr/bin/env bash
# The h5py decoder of docs/logit_shard_format.md, as printed there, against shards that Retort wrote.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/shards"
unit=$(dirname "$RETORT")/unit_io
RETORT_LOGIT_FOLDER=$folder/shards "$unit" --gtest_filter=LogitStoreTest.LeavesShardsForOtherReaders

python=$("$RETORT_SOURCE/scripts/peers") || { code=$?; echo "$python"; exit $code; }
# Two blocks: rows of top_k, and the other forms.
sed -n '/^```python$/,/^```$/p' "$RETORT_SOURCE/docs/logit_shard_format.md" >"$folder/blocks"
for block in 1 2; do
  awk -v b=$block '/^```python$/ { n++; next } /^```$/ { next } n == b' "$folder/blocks" \
    >"$folder/decoder$block.py"
  [ "$(grep -c . "$folder/decoder$block.py")" -le 20 ] ||
    { echo "decoder $block has more than 20 lines"; exit 1; }
done
PYTHONPATH=$folder "$python" - "$folder/shards" "$RETORT_SOURCE/tests/golden_files" <<'PYTHON'
import pathlib, sys
import h5py, numpy as np
from decoder1 import read_logits
from decoder2 import read_answers

def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF

paths = sorted(pathlib.Path(sys.argv[1]).glob("*.h5"))
assert paths
for path in paths:
    samples, ids, logits, tails, crcs = read_logits(path)
    k, t = logits.shape[1], tails.shape[1]
    lines = path.with_suffix(".txt").read_text().splitlines()
    assert len(lines) == len(samples) == 5, path
    for i, line in enumerate(lines):
        words = line.split()
        assert int(words[0]) == samples[i]
        assert [int(w) for w in words[1:k + 1]] == ids[i].tolist(), path
        floats = [float.fromhex(w) for w in words[k + 1:]]
        assert len(floats) == k + t
        assert floats == logits[i].tolist() + tails[i].tolist(), path
    rows = h5py.File(path)["rows"][:]
    assert [crc32c(r[:-4].tobytes()) for r in rows] == crcs.tolist(), path
print("decoded", len(paths), "shards")

# Golden shards of every format version, against the rule of tests/unit/io/golden_logits_test.cpp.
f = np.float32
golden = sorted(p for p in pathlib.Path(sys.argv[2]).glob("logits_*_v1/pass-*/*.h5")
                if "weighted" not in p.parts[-3])
assert len(golden) == 8, golden
for path in golden:
    samples, ids, logits, tails, crcs = read_logits(path)
    attributes = dict(h5py.File(path).attrs)
    classes, seen = int(attributes["classes"]), int(attributes["pass"])
    gaps = attributes["precision"] not in ("fp32", b"fp32")
    whole = int(attributes["top_k"]) == classes
    for i, s in enumerate(samples.tolist()):
        for k in range(ids.shape[1]):
            assert ids[i, k] == (s * 311 + seen * 7 + k * 131) % classes, path
            z = f(s) / f(8) - f(0.25) * f(k * k) if gaps else f(0.1) * f(s + 1) - f(0.25) * f(k)
            assert logits[i, k] == z, (path, s, k)
        for t in range(tails.shape[1]):
            assert tails[i, t] == (-np.inf if whole else f(-0.3) * f(s) + f(t)), (path, s, t)
    rows = h5py.File(path)["rows"][:]
    assert [crc32c(r[:-4].tobytes()) for r in rows] == crcs.tolist(), path
print("decoded", len(golden), "golden shards")

weighted = sorted(pathlib.Path(sys.argv[2]).glob("logits_weighted_v1/**/*.h5"))
assert len(weighted) == 6, weighted
rows = 0
for path in weighted:
    drawn = "unlabelled" not in path.parts
    seen = int(h5py.File(path).attrs["pass"])
    for s, ids, *parts in read_answers(path):
        rows += 1
        d = len(ids)
        if not drawn:
            assert ids.tolist() == [(s * 311 + seen * 7 + h * 131) % 1000 for h in range(3)]
            want = [f(0.45) / f(h + 1) - f(0.01) * f(s) for h in range(3)]
            assert parts[0].tolist() == [float(w) for w in want], (path, s)
            continue
        assert d == 1 + (s + seen) % 3 and ids.tolist() == [s * 7 + i * 131 for i in range(d)]
        counts, logits, log_pi, full = parts
        assert counts.tolist() == [6 - (d - 1)] + [1] * (d - 1)
        assert all(logits[i] == f(0.1) * f(s + 1) - f(i) for i in range(d)), (path, s)
        assert all(log_pi[i] == f(-0.3) * f(i + 1) - f(seen) for i in range(d)), (path, s)
        assert all(full[t] == f(0.7) * f(s) + f(t) for t in range(2)), (path, s)
assert rows == 2 * 8 + 6
print("decoded", len(weighted), "golden shards of draws and labels")
PYTHON
