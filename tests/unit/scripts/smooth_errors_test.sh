#!/bin/bash
# What `smooth` and --label-matrix refuse, with one line and the right exit code, and what inspect says
# of a label matrix.
. "$RETORT_SOURCE/tests/unit/scripts/tiny_plan.sh"
sed '/^\[logits\]/,$d' tiny.ini >first.ini
cat >>first.ini <<'PLAN'

[similar]
stage = smooth
model = @teacher

[score]
stage = evaluate
data = @data
model = @teacher
PLAN
run 0 run first.ini --out run
run 0 report run --out page.html
grep -q '<section id="labels"><h2>Similar classes' page.html || fail "no similar classes in the report"
[ "$(sed -n '/<section id="labels"/,/<section id="time"/p' page.html | grep -o '<img' | wc -l)" -ge 8 ] ||
  fail "no pictures of similar classes in the report"
one_line() { [ "$(wc -l <err)" -eq 1 ] || fail "not one line on standard error"; }
refuses() { # STATUS TEXT ARGUMENTS...
  local status=$1 text=$2
  shift 2
  run "$status" "$@" --log-level error
  one_line
  warns "$text"
}

run 0 smooth --model run/teacher --out labels
grep -q '^mean_self' out || fail "no mean_self among the results"
run 0 check labels
run 0 inspect labels
says "label matrix"
says "class-2  class-3"
run 0 inspect labels --class class-2
says "class-2"
run 0 inspect labels --class class-1 --class '#3'
says "share of other in class's row"
run 0 inspect labels --class class-1 --class class-3 --model run/teacher
run 0 smooth --model run/teacher --out labels
warns "already complete"

# smooth itself.
refuses 64 "knows only 4 classes" smooth --model run/teacher --out x --top-m 5
refuses 64 "must be in [0, 1)" smooth --model run/teacher --out x --floor 1
refuses 64 "must be between 0.02" smooth --model run/teacher --out x --negatives softmax --temperature 0.01
refuses 64 "belongs to negatives clamp" smooth --model run/teacher --out x --negatives shift --floor 0.1
refuses 64 "leave out --top-m" smooth --model run/teacher --out x --negatives raw --top-m 2
refuses 64 "at most 32768" smooth --model run/teacher --out x --tile 40000
refuses 64 "is for safetensors files" smooth --model run/teacher --out x --weight head.weight
refuses 65 "holds a 'packed_dataset'" smooth --model run/data --out x
refuses 64 "no such file or folder" smooth --model nothing --out x
refuses 64 "made with other options" smooth --model run/teacher --out labels --top-m 2
[ ! -e x ] || fail "a refused start left a folder"

# Columns from a safetensors file.
run 0 export --model run/teacher --out exported
file=exported/model.safetensors
refuses 64 "give --data" smooth --model $file --out x
weight=$(tr -d '\0' <$file | head -c 2000 | grep -o '"[a-z0-9.]*weight":{"dtype":"F32","shape":\[4,24\]' |
  cut -d'"' -f2)
[ -n "$weight" ] || fail "no weight of 4 classes in $file"
run 0 smooth --model $file --data run/data --weight "$weight" --out from-file
cmp -s labels/labels-000000.h5 from-file/labels-000000.h5 || fail "another matrix from the file"
refuses 65 "holds no such tensor" smooth --model $file --data run/data --weight none --out x
refuses 65 "[4, features] is wanted" smooth --model $file --data run/data --out x \
  --weight "$(tr -d '\0' <$file | head -c 2000 | grep -o '"[a-z0-9.]*weight":{"dtype":"F32","shape":\[24,' |
    cut -d'"' -f2)"
# A NaN in the first column.
python3 - "$file" "$weight" <<'PY' || fail "python3"
import json, struct, sys
data = bytearray(open(sys.argv[1], "rb").read())
length = struct.unpack("<Q", data[:8])[0]
begin = json.loads(data[8:8 + length])[sys.argv[2]]["data_offsets"][0] + 8 + length
data[begin:begin + 4] = struct.pack("<f", float("nan"))
open("nan.safetensors", "wb").write(data)
data[begin:begin + 96] = bytes(96)
open("zero.safetensors", "wb").write(data)
PY
refuses 65 "hold NaN or infinite numbers, class-0 (class 0): the model" smooth --model nan.safetensors --data run/data \
  --weight "$weight" --out x
for kind in nan zero; do
  run 0 smooth --model $kind.safetensors --data run/data --weight "$weight" --out $kind \
    --non-finite degenerate
  grep -q '^degenerate  *1$' out || fail "$kind: no degenerate class"
  run 0 inspect $kind --class class-0
  says "its column has no direction"
done
run 0 smooth --model zero.safetensors --data run/data --weight "$weight" --out zeros
warns "1 classes have columns without a direction, zeros or nearly so, class-0 (class 0)"
# A pair that neither row stores, of a matrix that was made from a file, which names no classes.
run 0 smooth --model $file --data run/data --weight "$weight" --top-m 1 --out alone
silent_about "converged"
! grep -q 'changes nothing' err || fail "one entry of a row, and said to be like no other"
run 0 inspect alone --class class-1 --class class-3 --model $file
grep -q '^cosine  *-\{0,1\}[01]' out || fail "no cosine of a pair"

# Training on it.
student="--data run/data --model mlp --hidden 4 --epochs 1 --batch 16 --micro-shards 2 --threads 1"
refuses 64 "needs --label-matrix" train $student --out y --label-mix 0.1
refuses 64 "must be in [0, 1]" train $student --out y --label-matrix labels --label-mix 1.5
refuses 64 "leave one out" train $student --out y --label-matrix labels --label-smoothing 0.1
refuses 65 "holds a 'model'" train $student --out y --label-matrix run/teacher/model
run 0 smooth --model run/teacher --out others --self exclude
refuses 64 "leave the class itself out" train $student --out y --label-matrix others --label-mix 1
run 0 train $student --out y --label-matrix others --label-mix 0.2
# Other names, another count.
cp -r pictures more
mv more/class-3 more/class-9
run 0 pack --from folder --source more --out renamed
rm -r more/class-9
run 0 pack --from folder --source more --out fewer
refuses 65 "of other class names" train ${student/run\/data/renamed} --out z --label-matrix labels
refuses 65 "has 3" train ${student/run\/data/fewer} --out z --label-matrix labels
refuses 65 "has 3 (or other names)" smooth --model run/teacher --data fewer --out x
# A file of another matrix in its place.
cp -r labels swapped
cp others/labels-000000.h5 swapped/
refuses 65 "labels-000000.h5" train $student --out z --label-matrix swapped

# inspect.
refuses 64 "no class is called so; did you mean 'class-1'" inspect labels --class clas-1
refuses 64 "no finished label matrix" inspect run/teacher --class class-1
refuses 64 "at most twice" inspect labels --class class-1 --class class-2 --class class-3
refuses 65 "not those that the matrix was made of" inspect labels --class class-1 --class class-2 --model y
echo "label matrices: refusals and words"
