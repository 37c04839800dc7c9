#!/usr/bin/env bash
# export and --init without Python: equal bytes each time, an exported folder is a model for every
# command, a training starts from its safetensors file with the same weights, and everything that is
# wrong with a file, a folder or an option is one line.
. "$(dirname "$0")/strict.sh"

quietly pack --from glyphs --characters 12 --out data
quietly pack --from glyphs --characters 15 --out other
convnet=(--model convnet --channels 8,12 --strides 2,2 --batch 64 --steps 3)
quietly train --data data "${convnet[@]}" --out model
quietly export --model model --out exported --format safetensors,onnx
quietly export --model model/model --out again --format safetensors,onnx
for file in model.json model.py model.safetensors model.onnx; do
  [ -s exported/$file ] || fail "no $file"
  cmp exported/$file again/$file || fail "$file has other bytes the second time"
done
cmp exported/model.json model/model/model.json || fail "another description"
retort check exported >/dev/null || fail "check of an export"
quietly export --model model --out only --format onnx
[ -s only/model.onnx ] && [ ! -e only/model.py ] && [ ! -e only/model.safetensors ] || fail "not onnx alone"
grep -q "exported by Retort" exported/model.py && grep -q "class Convnet" exported/model.py || fail "another loader"
! grep -q "class Mlp" exported/model.py || fail "the loader holds other architectures"

# Every architecture has its Python.
known=$(retort train --data data --model nonsense --out refused 2>&1 | sed -n 's/.*known models: //p') || true
[ -n "$known" ] || fail "no list of models"
for name in ${known//,/ }; do
  grep -qE "^# architectures:.* $name( |\$)" "$RETORT_SOURCE"/stages/export/models/*.py ||
    fail "stages/export/models has no file for $name"
done

# The same answers and digest from the exported folder; what was changed in Python since counts.
score() { retort evaluate --data data --json "$@" | sed 's/,"seconds":[^,}]*//'; }
[ "$(score --model exported)" = "$(score --model model)" ] || fail "other scores from the exported folder"
retort teach --data data --model exported --top-k 5 --out a --log-level error >/dev/null
retort teach --data data --model model --top-k 5 --out b --log-level error >/dev/null
diff -r a/pass-00 b/pass-00 || fail "other logits from the exported folder"
retort evaluate --data data --model exported >/dev/null 2>err || fail "evaluate"
! grep -q "are not those that export wrote" err || fail "weights that nobody changed are told of"
cp -r exported changed
size=$(stat -c %s changed/model.safetensors)
printf '\x55' | dd of=changed/model.safetensors bs=1 seek=$((size - 3)) conv=notrunc status=none
retort evaluate --data data --model changed >/dev/null 2>err || fail "evaluate with changed weights"
grep -q "are not those that export wrote" err || fail "changed weights are not told of"
printf 'P2\n2 2\n255\n0 90 200 255\n' >picture.pgm
[ "$(retort classify --model exported picture.pgm)" = "$(retort classify --model model picture.pgm)" ] || fail "classify"

# Predictions: a line a sample, whatever ranks and threads; the first label counts in top-1.
score --model model --predictions one.jsonl --top-n 3 >score.json
retort evaluate --data data --model model --threads 2 --batch 256 --predictions two.jsonl --top-n 3 >/dev/null
cmp one.jsonl two.jsonl || fail "predictions depend on threads"
retort -n 2 evaluate --data data --model model --predictions ranks.jsonl --top-n 3 --log-level error >/dev/null
cmp one.jsonl ranks.jsonl || fail "predictions depend on ranks"
lines=$(wc -l <one.jsonl)
grep -q "\"samples\":$lines" score.json || fail "$lines predictions: $(cat score.json)"
head -1 one.jsonl | grep -qE '^\{"sample":0,"labels":\["[^"]*"\],"best":\[(\{"name":"[^"]*","probability":[0-9.e-]+\},?){3}\]\}$' ||
  fail "the form of a prediction: $(head -1 one.jsonl)"
right=$(grep -cE '"labels":\["([^"]*)"\],"best":\[\{"name":"\1"' one.jsonl) || true
top1=$(sed 's/.*"top1":\([0-9.]*\).*/\1/' score.json)
[ "$(awk "BEGIN { printf \"%.0f\", $top1 * $lines }")" = "$right" ] || fail "$right right, top-1 $top1 of $lines"

# A start from the file is a start from the folder.
from=(train --data data "${convnet[@]}" --seed 5)
quietly "${from[@]}" --init model --out from-folder
quietly "${from[@]}" --init exported --out from-export
quietly "${from[@]}" --init exported/model.safetensors --out from-file
for run in from-export from-file; do
  [ "$(retort inspect --digest $run/model)" = "$(retort inspect --digest from-folder/model)" ] || fail "$run: other weights"
done
# Another head: the same backbone, for other classes.
quietly train --data other "${convnet[@]}" --init exported/model.safetensors --init-head new --out new-head
quietly train --data other "${convnet[@]}" --init model --init-head new --out new-head-folder
[ "$(retort inspect --digest new-head/model)" = "$(retort inspect --digest new-head-folder/model)" ] || fail "other heads"

bad() { refuse "$1" "$2" retort "${@:3}" --out refused; }
changed() { # TEXT PYTHON: a changed list of classes is refused
  rm -rf changed && cp -r exported changed
  python3 - "$2" <<'PYTHON'
import json, sys
description = json.load(open("changed/model.json"))
names = description["class_names"]
exec(sys.argv[1])
json.dump(description, open("changed/model.json", "w"))
PYTHON
  bad 65 "$1" evaluate --data data --model changed
}
changed "class_names are not those" 'names.reverse()'
changed "stands there twice" 'names[:] = [names[0]] * len(names)'
changed "is not plain UTF-8 text" 'names[1] = "a\nb\x1b[2J"'
# --init
bad 65 "--init-head new" train --data other "${convnet[@]}" --init exported/model.safetensors
bad 65 "6 of another shape: first bn1.bias is [8], the model has [9]; 5 not of the model: first bn2.bias: give" train --data data --model convnet --channels 9 --strides 2 --init model --steps 1
bad 65 "--init-head new" train --data other "${convnet[@]}" --init model
bad 65 "2 of another shape: first fc.bias is [12], the model has [15]" train --data other "${convnet[@]}" --init exported/model.safetensors
bad 65 "6 of another shape: first bn2.bias" train --data data --model convnet --channels 8,14 --strides 2,2 --init exported/model.safetensors
bad 65 "5 not of the model: first bn2.bias" train --data data --model convnet --channels 8 --strides 2 --init exported/model.safetensors --init-head new
bad 65 "5 missing: first bn3.bias" train --data data --model convnet --channels 8,12,12 --strides 2,2,1 --init exported/model.safetensors
bad 64 "no such file or folder" train --data data "${convnet[@]}" --init nowhere.safetensors
bad 64 "about --init" train --data data "${convnet[@]}" --init-head new
head -c 1000 exported/model.safetensors >cut.safetensors
bad 65 "cut.safetensors: " train --data data "${convnet[@]}" --init cut.safetensors
bad 65 "no sound safetensors file" train --data data "${convnet[@]}" --init exported/model.py
# An exported folder with other tensors or none.
cp -r exported damaged
cp cut.safetensors damaged/model.safetensors
refuse 65 "no sound safetensors file" retort evaluate --data data --model damaged
refuse 65 "model.json" retort evaluate --data data --model exported/model.safetensors
# Weights that are no numbers: whoever reads them names file and tensor (the last of the file is the widest
# type's last name).
cp -r exported diverged
printf '\0\0\300\177' |
  dd of=diverged/model.safetensors bs=1 seek=$(($(stat -c %s diverged/model.safetensors) - 4)) conv=notrunc status=none
nan="values are NaN or infinite"
bad 65 "--init diverged/model.safetensors: tensor fc.weight: 1 of" train --data data "${convnet[@]}" --init diverged/model.safetensors
bad 65 "diverged/model.safetensors: tensor fc.weight: 1 of" train --data data "${convnet[@]}" --init diverged
for command in "teach --data data --top-k 5" "evaluate --data data" export; do
  read -r -a words <<<"$command"
  bad 65 "$nan" "${words[@]}" --model diverged
done
refuse 65 "$nan" retort classify --model diverged nothing.png
quietly train --data other "${convnet[@]}" --init diverged/model.safetensors --init-head new --out sound
# export
bad 64 "must be safetensors, onnx or both" export --model model --format pickle
bad 64 "given twice" export --model model --format onnx,onnx
bad 64 "--model nowhere: there is no such file or folder" export --model nowhere
bad 64 "is a file" export --model exported/model.safetensors
cp exported/model.py teacher.pt
bad 64 "is a file" export --model teacher.pt
refuse 64 "other options or inputs" retort export --model model --out exported
refuse 64 "other options or inputs" retort export --model from-file --out exported --format safetensors,onnx
refuse 64 "other options or inputs" retort export --model model --out model
quietly export --model model --out exported --format safetensors,onnx
refuse 64 "--top-n" retort evaluate --data data --model model --predictions x --top-n 0
echo "$cases refused"
