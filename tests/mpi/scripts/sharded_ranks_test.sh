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
logit-form = cosine
logit-scale = 16
head = sharded
margin-angle = 0.3
margin-cosine = 0.1
sample-rate = 0.5
steps = 9
batch = 32
micro-shards = 4
checkpoint-every = 2
PLAN

one_result tiny.ini logits
# What a whole head answers differs by rounding alone.
score() { "$RETORT" evaluate "$@" --json 2>err || fail "evaluate"; }
same_scores() {
  python3 - "$@" <<'PYTHON'
import json, sys
whole, sharded = (json.load(open(path)) for path in sys.argv[1:])
assert whole["top1"] == sharded["top1"] and whole["top5"] == sharded["top5"], (whole, sharded)
assert abs(whole["loss"] - sharded["loss"]) < 1e-6 * whole["loss"], (whole, sharded)
PYTHON
}
score --data one/data --model one/student >whole.json
same_scores whole.json one/score/results.json
score --data one/glyphs --model one/some >whole.json
score --data one/glyphs --model one/some --head sharded >sharded.json
same_scores whole.json sharded.json

# A training that goes on from a model: each rank starts from its own classes of it.
"$RETORT" -n 3 train --data one/data --model mlp --hidden 24 --init one/teacher --head sharded --batch 64 \
  --micro-shards 4 --steps 1 --learning-rate 1e-30 --out still >/dev/null 2>err || fail "--init"
for model in one/teacher still; do score --data one/data --model $model >$(basename $model).json; done
same_scores teacher.json still.json

# Generations hold the head by its classes: written on some ranks, gone on with on others.
result_after_kills tiny.ini 3 checkpoint:3 checkpoint:2 capture:2 checkpoint:4 checkpoint:3

# Bad input: one line, the right code, before anything is written.
train=(train --data one/data --model mlp --hidden 8 --head sharded --out bad --batch 64 --micro-shards 8)
expect() { # CODE TEXT ARGUMENTS...
  run "$1" "${@:3}"
  warns "$2"
  [ "$(grep -c 'error:' err)" = 1 ] || fail "not one line: $*"
}
expect 64 '5 ranks, but the 4 classes are divided into 4 parts' -n 5 "${train[@]}"
expect 64 '--sample-rate 0: must be above 0' "${train[@]}" --sample-rate 0
expect 64 '--sample-rate 1.5: must be' "${train[@]}" --sample-rate 1.5
expect 64 'sample-rate' train --data one/data --model mlp --out bad --sample-rate 0.5
expect 64 'the model needs --logit-form cosine' "${train[@]}" --margin-angle 0.5
expect 64 '--margin-cosine 2: must be in' "${train[@]}" --margin-cosine 2 --logit-form cosine
expect 64 '--logit-scale 0: must be above 0' "${train[@]}" --logit-form cosine --logit-scale 0
expect 65 'the logits of that model are cosine times 16, those of this one linear:' train --data one/glyphs \
  --model convnet --channels 4,8 --strides 2,2 --init one/some --out bad
expect 65 'of the batch no class beside' train --data one/data --model mlp \
  --head sharded --out rate --batch 1 --steps 40 --sample-rate 0.01
expect 64 'draws are made from whole rows' teach --data one/data --model one/teacher --out bad --sample 5 --head sharded
expect 64 'leave out --class-map' evaluate --data one/data --model one/teacher --head sharded --class-map one/plan.ini
expect 64 '5 ranks, but the 4 classes are divided into 4 parts' -n 5 evaluate --data one/data --model one/teacher --head sharded
[ ! -e bad ] || fail "something was written"
echo "one result with a head divided by classes on 1, 2, 3 and 4 ranks, $kills kills"
