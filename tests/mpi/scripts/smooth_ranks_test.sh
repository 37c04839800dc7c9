#!/bin/bash
# Label matrices, and what is trained on them: one result on 1, 2, 3, 4 and 7 ranks, whatever tiles,
# schedule and threads, killed and gone on with on other numbers of ranks.
. "$RETORT_SOURCE/tests/unit/scripts/plans.sh"

cat >smooth.ini <<'PLAN'
[plan]
threads = 1

[data]
stage = pack
from = glyphs
characters = 90

[teacher]
stage = train
data = @data
model = convnet
channels = 4,8,8
strides = 2,2,2
steps = 30
batch = 64
micro-shards = 4
learning-rate = 0.01

[logits]
stage = teach
data = @data
model = @teacher
top-k = 3
temperatures = 2

[labels]
stage = smooth
model = @teacher
top-m = 12
floor = 0.2
tile = 8
checkpoint-every = 2

[taught]
stage = train
data = @data
label-matrix = @labels
label-mix = 0.4
model = mlp
hidden = 8
steps = 6
batch = 64
micro-shards = 4
checkpoint-every = 2

[both]
stage = distill
data = @data
logits = @logits
temperature = 2
label-matrix = @labels
label-tail = self
model = mlp
hidden = 8
steps = 6
batch = 64
micro-shards = 4
PLAN
one_result smooth.ini

# The files of a matrix, byte for byte.
smooth() { # RANKS OUT OPTION...
  local ranks=$1 out=$2
  shift 2
  on "$ranks" smooth --model one/teacher --top-m 12 --out "$out" "$@"
}
for method in "--floor 0.2" "--negatives softmax --self exclude" "--negatives shift" \
  "--precision fp32 --floor 0.2" "--precision fp32 --negatives softmax" "--precision fp32 --negatives shift"; do
  rm -rf m-*
  smooth 1 m-1 $method --tile 90 || fail "$method"
  for case in "2 ring 1" "3 panels 7" "4 ring 16" "7 panels 4" "7 ring 40"; do
    read -r ranks schedule tile <<<"$case"
    smooth "$ranks" "m-$ranks-$schedule" $method --schedule "$schedule" --tile "$tile" \
      --threads $((1 + tile % 2)) || fail "$method: $case"
    for file in labels-000000.h5 classes.h5 manifest.json; do
      cmp -s "m-1/$file" "m-$ranks-$schedule/$file" || fail "$method: $file differs: $case"
    done
  done
done

# Killed while generations and files are written, on turning numbers of ranks and by either schedule.
smooth 1 whole --floor 0.2 || fail "whole"
schedules=(ring panels)
kills=0
for place in checkpoint:3 checkpoint:7 checkpoint:5 capture:1; do
  status=0
  RETORT_FAULT_POINT=${place%:*}/atomic-rename:${place#*:}:kill \
    smooth $((kills % 4 + 1)) killed --floor 0.2 --tile 8 --checkpoint-every 1 \
    --schedule "${schedules[kills % 2]}" || status=$?
  [ $status -eq 0 ] && break
  kills=$((kills + 1))
  grep -q 'resuming after' err || [ $kills -eq 1 ] || fail "start $kills began anew"
done
[ $kills -eq 4 ] || fail "only $kills kills"
# Another tile now: the state keeps its own.
smooth 3 killed --floor 0.2 --tile 30 || fail "going on"
grep -q 'goes on with the 8 classes of a tile' err || fail "nothing said of the other tile"
[ "$(digest killed)" = "$(digest whole)" ] || fail "killed and resumed, another result"

# Told to stop: the state is kept, exit code 75, the same command goes on.
RETORT_FAULT_POINT=checkpoint/atomic-rename:3:hold "$RETORT" smooth --model one/teacher --top-m 12 \
  --floor 0.2 --tile 4 --checkpoint-every 1 --out stopped >out 2>err &
held=$!
for _ in $(seq 300); do
  [ "$(ps -o stat= -p $held | cut -c 1)" = T ] && break
  sleep 0.1
done
kill -TERM $held
kill -CONT $held
status=0
wait $held || status=$?
[ $status -eq 75 ] || fail "told to stop: exit code $status"
grep -q 'stopped on request after' err || fail "nothing said of the stop"
smooth 2 stopped --floor 0.2 || fail "after the stop"
grep -q 'resuming after' err || fail "it began anew"
[ "$(digest stopped)" = "$(digest whole)" ] || fail "stopped and resumed, another result"

# A damaged file is found and made again, from the state that is kept.
printf x | dd of=killed/labels-000000.h5 bs=1 seek=5000 conv=notrunc status=none
"$RETORT" check killed >out 2>err && fail "damage was not found"
"$RETORT" check killed --repair >out 2>err || fail "repair"
smooth 2 killed --floor 0.2 --tile 8 || fail "after the repair"
[ "$(digest killed)" = "$(digest whole)" ] || fail "repaired, another result"
echo "one result of label matrices on 1, 2, 3, 4 and 7 ranks, $kills kills"
