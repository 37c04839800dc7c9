#!/usr/bin/env bash
# The h5py decoder of docs/logit_shard_format.md, as printed there, against shards that Retort wrote.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/shards"
unit=$(dirname "$RETORT")/unit_io
RETORT_LOGIT_FOLDER=$folder/shards "$unit" --gtest_filter=LogitStoreTest.LeavesShardsForOtherReaders

python=$("$RETORT_SOURCE/scripts/peers") || { code=$?; echo "$python"; exit $code; }
sed -n '/^```python$/,/^```$/p' "$RETORT_SOURCE/docs/logit_shard_format.md" |
  sed '/^```/d' >"$folder/decoder.py"
[ "$(grep -c . "$folder/decoder.py")" -le 20 ] || { echo "the decoder has more than 20 lines"; exit 1; }
PYTHONPATH=$folder "$python" - "$folder/shards" "$RETORT_SOURCE/tests/golden_files" <<'PYTHON'
import pathlib, sys
import h5py, numpy as np
from decoder import read_logits

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
golden = sorted(pathlib.Path(sys.argv[2]).glob("logits_*_v1/pass-*/*.h5"))
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
PYTHON
