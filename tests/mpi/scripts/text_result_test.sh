#!/bin/bash
# A plan on texts (both models for text, a teacher's answers stored and distilled) on 1, 2, 3 and 4
# ranks with 1 and 2 threads, killed and resumed on another number of ranks: the same result. One student learns from labelled and
# unlabelled texts, one from draws.
. "$RETORT_SOURCE/tests/unit/scripts/plans.sh"
. "$RETORT_SOURCE/tests/unit/scripts/tiny_texts.sh"
# 20 texts more, whose labels are dropped: batches of 8 and a partial one of 4.
mkdir more
head -20 texts/train.jsonl | tac | sed 's/common/other/' >more/train.jsonl
cat >text.ini <<'PLAN'
[data]
stage = pack
from = jsonl
source = texts

[teacher]
stage = train
data = @data
model = textcnn
buckets = 512
dim = 12
filters = 10
optimiser = adamw
learning-rate = 0.01
epochs = 3
batch = 24
micro-shards = 4
micro-fill = 2
checkpoint-every = 3

[logits]
stage = teach
data = @data
model = @teacher
top-k = 2
shard-samples = 16

[student]
stage = distill
data = @data
logits = @logits
model = bag
buckets = 2048
dim = 10
min-chars = 1
max-chars = 3
dropout = 0.2
optimiser = adamw
learning-rate = 0.05
average-decay = 0.9
clip-norm = 1
epochs = 3
batch = 24
micro-shards = 4
micro-fill = 2
temperature = 2
checkpoint-every = 3

[more]
stage = pack
from = jsonl
source = more
drop-labels = train

[draws]
stage = teach
data = @data
model = @teacher
sample = 9
temperatures = 1,2
unlabelled = @more
top-h = 2
shard-samples = 16

[mixed]
like = student
unlabelled = @more
unlabelled-logits = @draws
unlabelled-batch = 8
beta = 0.45

[sampled]
like = student
logits = @draws
tail = sampled

[score]
stage = evaluate
data = @data
split = train
model = @student
PLAN

on 1 run text.ini --out one --set plan.threads=1 || fail "one rank"
result=$(digest one)
mapfile -t files < <(cd one && find logits draws ./*/model -name '*.h5')
[ ${#files[@]} = 16 ] || fail "not twelve shards and four models: ${files[*]}"
grep -q train_unlabelled_loss one/mixed/metrics.jsonl || fail "no loss of unlabelled texts"
for threads in 1 2; do
  for ranks in 2 3 4; do
    [ "$threads$ranks" != 23 ] || continue
    on $ranks run text.ini --out "run-$ranks-$threads" --set plan.threads=$threads ||
      fail "$ranks ranks of $threads threads"
    [ "$(digest "run-$ranks-$threads")" = "$result" ] || fail "$ranks ranks, another result"
    for file in "${files[@]}"; do
      cmp -s "one/$file" "run-$ranks-$threads/$file" || fail "$file differs on $ranks ranks"
    done
  done
done
# Another seed: the digest is not a constant.
on 1 run text.ini --out seeded --set student.seed=2 || fail "another seed"
[ "$(digest seeded)" != "$result" ] || fail "another seed, the same result"

kills=0
for passage in 6 12 18 24 30 40; do
  RETORT_FAULT_POINT=atomic-rename:$passage:kill "$RETORT" run text.ini --out killed >out 2>err
  case $? in
    137) kills=$((kills + 1)) ;;
    0) ;;
    *) fail "a start that was to be killed" ;;
  esac
done
[ $kills -ge 4 ] || fail "only $kills kills"
on 3 resume killed || fail "resume on 3 ranks"
[ "$(digest killed)" = "$result" ] || fail "killed and resumed on 3 ranks, another result"
echo "one result on 1, 2, 3 and 4 ranks, and after $kills kills"
