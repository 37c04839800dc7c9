#!/bin/bash
# Training with a head divided by classes: one result on 1, 2, 3 and 4 ranks, with 1 and 2 threads,
# killed and gone on with on other numbers of ranks.
. "$RETORT_SOURCE/tests/unit/scripts/tiny_plan.sh"

sed -i '/^\[teacher\]/,/^\[/s/^batch = 16/batch = 16\nhead = sharded\naverage-decay = 0.9\nvalidation = test\nselect = best/' tiny.ini
sed -i '/^\[student\]/,/^\[/s/^batch = 16/batch = 16\nhead = sharded\nclip-norm = 1\noptimiser = adamw\nvalidation = test/' tiny.ini
sed -i '/^\[logits\]/,/^\[/s/^top-k = 2/top-k = 2\nhead = sharded\nunlabelled = @data\nunlabelled-split = test/' tiny.ini
sed -i '/^\[score\]/,$s/^model = @student/model = @student\nhead = sharded/' tiny.ini
cat >>tiny.ini <<'PLAN'

[labels]
stage = smooth
model = @teacher
top-m = 3
negatives = softmax

[draws]
stage = teach
data = @data
model = @teacher
sample = 9
temperatures = 1,2
unlabelled = @data
unlabelled-split = test
top-h = 2

[mixed]
like = student
label-matrix = @labels
label-mix = 0.3
logits = @draws
tail = sampled
unlabelled = @data
unlabelled-split = test
unlabelled-batch = 5
beta = 0.4

[glyphs]
stage = pack
from = glyphs
characters = 200

[some]
stage = train
data = @glyphs
validation = test
model = convnet
channels = 4,8
strides = 2,2
dropout = 0.1
head = sharded
sample-rate = 0.5
steps = 9
batch = 32
micro-shards = 4
checkpoint-every = 2
PLAN

on 1 run tiny.ini --out one || fail "one rank"
result=$(digest one)
for ranks in 2 3 4; do
  on $ranks run tiny.ini --out ranks-$ranks --threads $((1 + ranks % 2)) || fail "$ranks ranks"
  [ "$(digest ranks-$ranks)" = "$result" ] || fail "$ranks ranks, another result"
  for file in $(cd one && find logits -name '*.h5'); do
    cmp -s "one/$file" "ranks-$ranks/$file" || fail "$file differs on $ranks ranks"
  done
done
# What a whole head answers differs by rounding alone.
"$RETORT" evaluate --data one/data --model one/student --json >whole.json 2>err || fail "evaluate"
python3 - whole.json one/score/results.json <<'PYTHON'
import json, sys
whole, sharded = (json.load(open(path)) for path in sys.argv[1:])
assert whole["top1"] == sharded["top1"] and whole["top5"] == sharded["top5"], (whole, sharded)
assert abs(whole["loss"] - sharded["loss"]) < 1e-6 * whole["loss"], (whole, sharded)
PYTHON
"$RETORT" check one >out 2>err || fail "check"

# Generations hold the head by its classes: written on some ranks, gone on with on others.
kills=0
turn=0
for place in checkpoint:3 checkpoint:2 capture:2 checkpoint:4 checkpoint:3; do
  turn=$((turn + 1))
  status=0
  RETORT_FAULT_POINT=${place%:*}/atomic-rename:${place#*:}:kill \
    on $((turn % 4 + 1)) run tiny.ini --out killed || status=$?
  [ $status -eq 0 ] && break
  kills=$((kills + 1))
done
[ $kills -ge 3 ] || fail "only $kills kills"
on 3 run tiny.ini --out killed --threads 2 || fail "going on"
[ "$(digest killed)" = "$result" ] || fail "killed and resumed, another result"

# Bad input: one line, the right code, before anything is written.
train=(train --data one/data --model mlp --hidden 8 --head sharded --out bad --batch 64 --micro-shards 8)
expect() { # CODE TEXT COMMAND...
  local want=$1 text=$2 status=0
  shift 2
  "$@" >out 2>err || status=$?
  [ $status -eq "$want" ] || fail "code $status instead of $want: $*"
  [ "$(grep -c 'error:' err)" = 1 ] && grep -q -- "$text" err || { cat err; fail "not said: $text"; }
}
expect 64 '5 ranks, but the 4 classes are divided into 4 parts' "$RETORT" -n 5 "${train[@]}"
expect 64 '--sample-rate 0: must be above 0' "$RETORT" "${train[@]}" --sample-rate 0
expect 64 '--sample-rate 1.5: must be' "$RETORT" "${train[@]}" --sample-rate 1.5
expect 64 'sample-rate' "$RETORT" train --data one/data --model mlp --out bad --sample-rate 0.5
expect 65 'leaves row . of the batch no class beside' "$RETORT" train --data one/data --model mlp \
  --head sharded --out rate --batch 1 --steps 40 --sample-rate 0.01
expect 64 'draws are made from whole rows' "$RETORT" teach --data one/data --model one/teacher --out bad --sample 5 --head sharded
expect 64 'leave out --class-map' "$RETORT" evaluate --data one/data --model one/teacher --head sharded --class-map one/plan.ini
expect 64 '5 ranks, but the 4 classes are divided into 4 parts' "$RETORT" -n 5 evaluate --data one/data --model one/teacher --head sharded
[ ! -e bad ] || fail "something was written"
echo "one result with a head divided by classes on 1, 2, 3 and 4 ranks, $kills kills"
