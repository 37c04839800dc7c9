#!/bin/bash
# Restarts without progress are bounded: a section that dies each time ends with 65 and its reason,
# --retry begins anew, and progress or a stop on request counts for nothing.
. "$(dirname "$0")/tiny_plan.sh"

run 0 run tiny.ini --out reference
run 0 run tiny.ini --out dies --only data

# dies_at POINT: one start of the teacher that is killed there.
dies_at() {
  RETORT_FAULT_POINT=$1 "$RETORT" run tiny.ini --out dies --only teacher >out 2>err
  local got=$?
  [ $got -eq 137 ] || fail "exit code $got instead of a kill at $1"
}

# The first generation is never committed: a start and three restarts, then no more.
for start in 1 2 3 4; do
  run 75 status dies --decide teacher
  dies_at checkpoint/atomic-rename:1:kill
done
run 65 status dies --decide teacher
warns "section teacher made no progress in 3 restarts"
run 0 status dies --decide data
run 65 status dies --decide score # it waits for one that starts no more
warns "section teacher"
run 64 status dies --decide nobody
run 64 status dies --decide data/seed-1
for again in 1 2; do
  run 65 run tiny.ini --out dies
  warns "section teacher made no progress in 3 restarts"
  warns "died without a word"
  warns "--retry"
done
run 65 resume dies
# With --retry it starts, and dies again as a first restart would.
RETORT_FAULT_POINT=checkpoint/atomic-rename:1:kill "$RETORT" resume dies --retry >out 2>err
[ $? -eq 137 ] || fail "--retry did not start the section"
run 75 status dies --decide teacher
run 0 resume dies
run 0 status dies --decide score
[ "$(digest dies)" = "$(digest reference)" ] || fail "another result after bounded restarts"

# A failure is told with its line.
for start in 1 2 3 4; do
  RETORT_FAULT_POINT=checkpoint/atomic-rename:1:EIO "$RETORT" run tiny.ini --out fails >out 2>err
  [ $? -eq 74 ] || fail "no I/O error at start $start"
done
run 65 run tiny.ini --out fails
warns "failed with exit code 74: "
# Other options are another attempt.
run 0 run tiny.ini --out fails --set teacher.epochs=5

# Stops on request count for nothing, however many.
for start in 1 2 3 4 5 6; do
  rm -f out  # what the start before said is no sign of this one
  "$RETORT" run tiny.ini --out stops --set teacher.epochs=40000 >out 2>err &
  program=$!
  for _ in $(seq 300); do
    grep -qs "teacher: " out && break
    sleep 0.1
  done
  kill -TERM $program
  wait $program
  got=$?
  [ $got -eq 75 ] || fail "exit code $got after TERM at start $start"
done
grep -q '"end": *"stopped"' stops/.plan/sections/teacher.json || fail "the stop is not on record"
# A sample that kills who decodes it is named, in training and in a teacher's capture, also on ranks.
sed 's/^source = .*/&\nstore = encoded/' tiny.ini >encoded.ini
run 0 run encoded.ini --out healthy
for poisoned in teacher logits; do
  rm -rf poison
  run 0 run encoded.ini --out poison --only "$([ $poisoned = teacher ] && echo data || echo teacher)"
  # The first starts of a capture finish the other three shards, which is progress; a start may be killed
  # before its shards are on disk, so each of the three can come with the third start only. On one rank
  # the program is what dies; mpirun says it as 70.
  for start in 1 2 3 4 5 6 7 8 9 10 11 12; do
    RETORT_FAULT_POINT=sample-17:1:kill "$RETORT" -n $((start % 2 + 1)) run encoded.ini --out poison \
      --only $poisoned >out 2>err
    got=$?
    [ $got -ne 0 ] || fail "the poison did not kill"
    [ $got -ne 65 ] || break
  done
  run 65 run encoded.ini --out poison
  warns "section $poisoned made no progress in 3 restarts"
  warns "each time while sample 17 was read"
  run 0 run encoded.ini --out poison --retry
  [ -z "$(find poison -name reading)" ] || fail "marks are left of a start that ended well"
  [ "$(digest poison)" = "$(digest healthy)" ] || fail "another result after a poisoned sample"
done
echo "bounded restarts hold"
