#!/bin/bash
# Draws, and batches of labelled and unlabelled rows: one result on 1, 2, 3 and 4 ranks, with 1 and 2
# threads, killed and gone on with on other numbers of ranks.
. "$RETORT_SOURCE/tests/unit/scripts/tiny_plan.sh"

# 5 more pictures a class in another style, 20 in all: batches of 7 and a partial one of 6.
for class in 0 1 2 3; do
  mkdir -p "more/class-$class"
  for number in 20 21 22 23 24; do
    picture $class $number 5 >"more/class-$class/$number.pgm"
  done
done
sed '/^\[logits\]/,$d' tiny.ini >weighted.ini
cat >>weighted.ini <<'PLAN'
[more]
stage = pack
from = folder
source = more
split = train=rest

[draws]
stage = teach
data = @data
model = @teacher
sample = 9
sample-exponent = 0.5
temperatures = 1,2
unlabelled = @more
top-h = 2
passes = 2
augment-shift = 0.1
shard-samples = 8
batch = 4

[best]
stage = teach
data = @data
model = @teacher
top-k = 2
passes = 2
augment-shift = 0.1
shard-samples = 8

[sampled]
stage = distill
data = @data
logits = @draws
tail = sampled
temperature = 2
model = convnet
channels = 4,8
strides = 2,2
dropout = 0.1
augment-shift = 0.1
epochs = 2
batch = 14
micro-shards = 4
checkpoint-every = 2

[mixed]
stage = distill
data = @data
logits = @best
unlabelled = @more
unlabelled-logits = @draws
unlabelled-batch = 7
beta = 0.6
model = convnet
channels = 4,8
strides = 2,2
dropout = 0.1
augment-shift = 0.1
epochs = 3
batch = 14
micro-shards = 4
checkpoint-every = 2
PLAN
# The same two students, their last layer computed by chunks of classes.
for section in sampled mixed; do
  sed -n "/^\[$section\]/,/^checkpoint-every/{s/^\[$section\]/[$section-chunked]/;p}" weighted.ini
  printf 'head = chunked\n\n'
done >chunked.ini
cat chunked.ini >>weighted.ini

one_result weighted.ini draws best
grep -q train_unlabelled_loss one/mixed/metrics.jsonl || fail "no loss of unlabelled rows"
grep -qE '"unlabelled_samples": ?20' one/mixed/results.json || fail "no count of unlabelled samples"
loss() { sed -n 's/.*"train_loss": *\([0-9.e-]*\).*/\1/p' "one/$1/results.json" | head -n 1; }
for section in sampled mixed; do
  awk -v a="$(loss $section)" -v b="$(loss $section-chunked)" \
    'BEGIN {d = a - b; exit !(a > 0 && d * d <= 1e-8 * a * a)}' ||
    fail "$section: losses $(loss $section), by chunks $(loss $section-chunked)"
  ! cmp -s one/$section/model/model.h5 one/$section-chunked/model/model.h5 || fail "$section: not by chunks"
done
# Killed while shards and generations are written.
result_after_kills weighted.ini 2 capture:3 capture:6 checkpoint:9 checkpoint:4
echo "one result of draws and mixed batches on 1, 2, 3 and 4 ranks, $kills kills"
