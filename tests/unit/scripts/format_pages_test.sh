#!/bin/bash
# The Python of docs/*_format.md, run as printed on the golden files, must find the digests that
# Retort's own tests expect. Needs h5py from PyPI in a throw-away environment.
set -u
source=${RETORT_SOURCE:?}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if ! { python3 -m venv "$folder/venv" && "$folder/venv/bin/pip" -q install h5py numpy; } \
  >"$folder/log" 2>&1; then
  echo "SKIPPED: h5py could not be installed from PyPI: $(tail -1 "$folder/log")"
  exit 77
fi
for page in manifest tensor model checkpoint; do
  sed -n '/^```python$/,/^```$/{/^```/d;p}' "$source/docs/${page}_format.md"
done >"$folder/pages.py"
cat >"$folder/check.py" <<'END'
import re, sys
source, pages = sys.argv[1], sys.argv[2]
exec(compile(open(pages, encoding="utf-8").read(), "docs", "exec"))
golden = source + "/tests/golden_files/"
test = open(source + "/tests/unit/io/golden_files_test.cpp", encoding="utf-8").read()

# In the order of the test: model, its tensors, run, run of three ranks.
expected = re.findall(r'"([0-9a-f]{64})"', test)
description, tensors = read_model(golden + "model_v1")
assert description["class_names"] == ["Ж", "zero", ""]
assert description["scale"]["mean"] == [0.5, 0.25, 1 / 3]
assert len(tensors) == 10
for name, tensor in tensors.items():
    found = list(tensor.tobytes())
    assert found == [(i * 29 + 7) % 241 for i in range(len(found))], name
assert tensors["layer1.0.conv1.weight"].shape == (2, 1, 3, 3)
assert tensors["features/f16"].dtype == numpy.float16 and tensors["none"].shape == (0, 7)
with h5py.File(golden + "model_v1/model.h5") as file:
    assert file.attrs["format_version"] == 1
    kind = file.attrs["retort_kind"]
    assert (kind.decode() if isinstance(kind, bytes) else kind) == "model", kind
    assert file["tensors/layer1.0.conv1.weight/0"].shape == (2, 1, 3, 3)
found = [read_manifest(golden + "model_v1")["content_digest"], tensor_digest(tensors)]
step, state, again, digest = read_generation(
    golden + "run_v1/checkpoints/gen-0000000120-e0001")
assert step == 120 and state == {"position": 12, "loss": 0.1, "best": None}
assert tensor_digest(again) == tensor_digest(tensors)
found += [digest]
found += [read_generation(golden + "run_v1_ranks3/checkpoints/gen-0000000001-e0001")[3]]
assert found == expected, (found, expected)
print("the pages read what Retort wrote")
END
"$folder/venv/bin/python" "$folder/check.py" "$source" "$folder/pages.py"
