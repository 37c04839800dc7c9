#!/bin/bash
# --precision bf16: the same bits on 1, 2, 3 and 4 ranks with 1 and 2 threads, in train, teach,
# distill and evaluate; other weights than fp32, and scores as good.
. "$RETORT_SOURCE/tests/unit/scripts/tiny_plan.sh" || exit 1

cat >bf16.ini <<'PLAN'
[plan]
threads = 1

[data]
stage = pack
from = folder
source = pictures
split = train=rest,test=4

[teacher]
stage = train
data = @data
model = convnet
channels = 8,16
strides = 1,2
epochs = 12
batch = 16
micro-shards = 4
learning-rate = 0.05
precision = bf16

[logits]
stage = teach
data = @data
model = @teacher
top-k = 2
shard-samples = 8
precision = bf16

[student]
stage = distill
data = @data
logits = @logits
model = mlp
hidden = 32
epochs = 30
batch = 16
micro-shards = 4
temperature = 2
learning-rate = 0.05
precision = bf16

[score]
stage = evaluate
data = @data
model = @teacher
split = train
precision = bf16
PLAN
for class in 0 1 2 3; do
  for number in 10 11 12 13 14 15; do
    picture $class $number >"pictures/class-$class/$number.pgm"
  done
done

turn=0
for ranks in 1 2 3 4; do
  turn=$((turn + 1))
  on "$ranks" run bf16.ini --out "ranks-$ranks" --threads $((1 + turn % 2)) ||
    fail "$ranks ranks"
done
result=$(digest ranks-1)
for ranks in 2 3 4; do
  [ "$(digest ranks-$ranks)" = "$result" ] || fail "$ranks ranks, another result"
done

top1() { sed -n 's/.*"top1": *\([0-9.]*\).*/\1/p' "$1" | head -1; }
run 0 run bf16.ini --out full --set teacher.precision=fp32 --set logits.precision=fp32 \
  --set student.precision=fp32 --set score.precision=fp32
for section in teacher logits student; do
  [ "$(digest full/$section)" != "$(digest ranks-1/$section)" ] || fail "$section is not in bf16"
done
low=$(top1 ranks-1/score/results.json)
full=$(top1 full/score/results.json)
# 48 pictures: two of them may fall on the other side.
awk "BEGIN { exit !($low >= 0.9 && $low >= $full - 2 / 48 && $full >= 0.9) }" ||
  fail "top-1 $low in bf16, $full in fp32"

run 64 train --data ranks-1/data --model mlp --out x --precision half
warns "bf16"
echo "one result in bf16 on 1, 2, 3 and 4 ranks: top-1 $low, fp32 $full"
