#!/usr/bin/env bash
# reshard: a head divided among files and put together again has the bytes of an export; folders of
# parts are models for every command; files of others are joined by their order or their headers;
# classes that two files own, or none, are refused.
. "$(dirname "$0")/strict.sh"

quietly pack --from glyphs --characters 23 --out data
quietly train --data data --model convnet --channels 8,12 --strides 2,2 --batch 64 --steps 3 --out model
quietly export --model model --out exported
for parts in 1 2 7 23; do
  quietly reshard --model model --parts $parts --out parts-$parts
  quietly reshard --model parts-$parts --out whole-$parts
  cmp whole-$parts/model.safetensors exported/model.safetensors || fail "$parts parts: other bytes"
  cmp whole-$parts/model.json exported/model.json || fail "$parts parts: another description"
  retort check parts-$parts >/dev/null || fail "check of $parts parts"
  [ "$(retort inspect --digest parts-$parts)" = "$(retort inspect --digest exported)" ] || fail "another digest"
done
[ "$(ls parts-7 | grep -c '^part-0000[1-7]-of-00007.safetensors$')" = 7 ] || fail "other names: $(ls parts-7)"
quietly reshard --model parts-7 --parts 2 --out from-7
cmp from-7/part-00002-of-00002.safetensors parts-2/part-00002-of-00002.safetensors || fail "7 to 2 parts"
score() { retort evaluate --data data --json "$@" | sed 's/,"seconds":[^,}]*//'; }
[ "$(score --model parts-7)" = "$(score --model model)" ] || fail "other scores from parts"
retort -n 2 evaluate --data data --model parts-7 --head sharded --json >sharded.json
grep -q "\"top1\":$(score --model model | sed 's/.*"top1":\([^,}]*\).*/\1/')" sharded.json || fail "sharded: $(cat sharded.json)"
retort reshard --model parts-7 --out whole-7 2>&1 | grep -q 'already complete' || fail "made again"

# Files as another program leaves them: a backbone, and a part of the head for each rank.
python3 - <<'PYTHON'
import json, struct
def read(path):
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size]), data[8 + size:]
def write(path, tensors, metadata=None):
    header, body = {}, b""
    if metadata: header["__metadata__"] = metadata
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + body)
header, body = read("exported/model.safetensors")
whole = {}
for name, entry in header.items():
    if name != "__metadata__":
        whole[name] = (entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])])
head = {name: whole.pop(name) for name in ("fc.weight", "fc.bias")}
def rows(begin, end):
    return {name: (dtype, [end - begin] + shape[1:],
                   data[begin * len(data) // shape[0]:end * len(data) // shape[0]])
            for name, (dtype, shape, data) in head.items()}
whole["bn1.num_batches_tracked"] = ("I64", [], bytes(8))
write("backbone.safetensors", whole)
for i, (begin, end) in enumerate([(0, 9), (9, 10), (10, 23)]):
    write(f"rank_{i}.safetensors", rows(begin, end))
    write(f"told_{i}.safetensors", rows(begin, end), {"first_class": str(begin), "classes": "23"})
write("twice.safetensors", rows(8, 10), {"first_class": "8", "classes": "23"})
write("word.safetensors", rows(9, 10), {"first_class": "nine"})
write("untold.safetensors", rows(0, 9), {"first_class": "0"})
write("fewer.safetensors", rows(9, 23), {"first_class": "9", "classes": "22"})
write("bias_0.safetensors", {"fc.weight": rows(0, 9)["fc.weight"], "fc.bias": rows(0, 8)["fc.bias"]})
write("bias_1.safetensors", {"fc.weight": rows(9, 23)["fc.weight"], "fc.bias": rows(8, 23)["fc.bias"]})
write("weight_1.safetensors", {"fc.weight": rows(9, 23)["fc.weight"]})
write("again.safetensors", rows(9, 10))
dtype, shape, data = head["fc.weight"]
write("narrow.safetensors", {"fc.weight": (dtype, [shape[0], shape[1] // 2], data[:len(data) // 2])})
write("ids.safetensors", {"fc.weight": ("I64", [1, 12], bytes(96)), "fc.bias": rows(9, 10)["fc.bias"]})
PYTHON
list() { local IFS=,; echo "$*"; }
ranks=(rank_0.safetensors rank_1.safetensors rank_2.safetensors)
quietly reshard --model "$(list backbone.safetensors "${ranks[@]}")" --out joined
cmp joined/model.safetensors exported/model.safetensors || fail "joined: other bytes"
quietly reshard --model "$(list told_2.safetensors told_0.safetensors backbone.safetensors told_1.safetensors)" --parts 2 --out told
cmp told/part-00001-of-00002.safetensors parts-2/part-00001-of-00002.safetensors || fail "told: other bytes"
quietly train --data data --model convnet --channels 8,12 --strides 2,2 --steps 1 --init joined/model.safetensors --out on
quietly reshard --model backbone.safetensors,rank_0.safetensors --head fc.weight,fc.bias --parts 3 --out three

# Bad input: one line, the right code, nothing written.
refused() { # CODE TEXT PARTS FILES...
  refuse "$1" "$2" retort reshard --out refused --parts "$3" --model "$(list "${@:4}")"
}
refused 65 "begins at class 8, the part before ends at 9: class 8 is owned twice" 1 told_0.safetensors twice.safetensors told_2.safetensors
refused 65 "the part before ends at 9: class 9 is owned by nobody" 1 told_0.safetensors told_2.safetensors
refused 65 "ends at class 10 of 23: class 10 is owned by nobody" 1 told_0.safetensors told_1.safetensors
refused 65 "is the part from class 9 on of a layer of 23 classes, of which class 0 is owned by nobody" 1 told_1.safetensors
refused 65 "of which class behind its last is owned by nobody" 1 told_0.safetensors
refused 65 "speaks of 22 classes, fc.bias has 23 rows" 1 untold.safetensors fewer.safetensors
refused 65 "its part of fc.weight ends at row 9, that of fc.bias at 8" 1 bias_0.safetensors bias_1.safetensors
refused 65 "fc.bias has 9 rows, fc.weight has 23" 1 rank_0.safetensors weight_1.safetensors
refused 65 "again.safetensors: holds what rank_1.safetensors holds" 1 rank_0.safetensors rank_1.safetensors again.safetensors rank_2.safetensors
refuse 65 "fc.bias has 22 rows, --classes says 23" retort reshard --out refused --classes 23 --model rank_0.safetensors,rank_2.safetensors
refused 65 "all of them have to, or none" 1 told_0.safetensors rank_1.safetensors
refused 65 "its first_class is 'nine', no whole number" 1 told_0.safetensors word.safetensors
refused 65 "parts of one tensor differ in their first dimension alone" 1 rank_0.safetensors narrow.safetensors
refused 65 "no floating point" 1 rank_0.safetensors ids.safetensors
refused 65 "is given twice" 1 rank_0.safetensors rank_0.safetensors
refused 64 "name the tensors of the last layer by --head" 2 backbone.safetensors
refused 64 "there are 23 classes" 24 model
refused 64 "is a folder: give it alone" 2 model rank_0.safetensors
refused 64 "must be in" 0 model
refuse 65 "holds no tensor nonsense" retort reshard --model exported/model.safetensors --head nonsense --parts 2 --out refused
cp -r parts-7 damaged && rm damaged/part-00003-of-00007.safetensors
refused 65 "is owned by nobody" 1 damaged
refuse 65 "is owned by nobody" retort evaluate --data data --model damaged
[ ! -e refused ] || fail "files of what was refused"
echo "heads in 1 to 23 parts and back, $cases refused"
