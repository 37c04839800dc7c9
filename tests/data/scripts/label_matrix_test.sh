#!/bin/bash
# Label matrices against numpy, read with h5py, from a model exported to safetensors: an oracle that
# shares no code with the program (scripts/peers makes its environment).
. "$RETORT_SOURCE/tests/unit/scripts/plans.sh"
python=$("$RETORT_SOURCE/scripts/peers") || { code=$?; echo "$python"; exit $code; }

cat >labels.ini <<'PLAN'
[data]
stage = pack
from = glyphs
characters = 300

[teacher]
stage = train
data = @data
model = convnet
channels = 8,16,48
strides = 2,2,2
steps = 60
batch = 64
micro-shards = 4
learning-rate = 0.01

[clamp]
stage = smooth
model = @teacher
top-m = 20

[all]
stage = smooth
model = @teacher
top-m = 0
negatives = shift

[softmax]
stage = smooth
model = @teacher
top-m = 9
negatives = softmax
self = exclude

[fast]
stage = smooth
model = @teacher
top-m = 20
precision = fp32
floor = 0.1

[fast-softmax]
stage = smooth
model = @teacher
top-m = 50
precision = fp32
negatives = softmax
PLAN
run 0 run labels.ini --out run
run 0 export --model run/teacher --out exported
"$python" "$RETORT_SOURCE/tests/data/scripts/label_oracle.py" exported run/clamp run/all run/softmax \
  run/fast run/fast-softmax || fail "numpy says otherwise"
