#!/bin/bash
# A plan that is killed at any moment goes on to the same result; a stop on request checkpoints.
. "$(dirname "$0")/tiny_plan.sh"

run 0 run tiny.ini --out reference
result=$(digest reference)

# Killed at commits inside packing, training, capture: each start goes on from what is there.
kills=0
for passage in 3 9 17 23 31 5 12 20 7 15; do
  RETORT_FAULT_POINT=atomic-rename:$passage:kill "$RETORT" run tiny.ini --out killed >out 2>err
  status=$?
  case $status in
    137) kills=$((kills + 1)) ;;
    0) break ;;
    *) fail "exit code $status at passage $passage" ;;
  esac
done
[ $kills -ge 4 ] || fail "only $kills kills"
run 0 resume killed
[ "$(digest killed)" = "$result" ] || fail "killed and resumed, another result"
for file in $(cd reference && find data logits -name '*.h5'); do
  cmp -s "reference/$file" "killed/$file" || fail "$file differs"
done
[ ! -e killed/.old ] || fail "a resumed section was set aside"
run 0 check killed

# What an earlier start did is no work of this one: the last line tells them apart.
train=(train --data reference/data --model mlp --hidden 8 --steps 8 --batch 16 --micro-shards 4
  --checkpoint-every 2 --out halves)
RETORT_FAULT_POINT=checkpoint-manifest:3:kill "$RETORT" "${train[@]}" >out 2>err
status=$?
[ $status -eq 137 ] || fail "not killed at the third checkpoint: $status"
run 0 "${train[@]}"
warns "resuming at step 4 of 8"
warns "train 8 steps, 4 of them in"

# TERM: the running section checkpoints, exit code 75, status says partial, resume ends it.
"$RETORT" run tiny.ini --out stopped --set teacher.epochs=4000 >first.out 2>first.err &
program=$!
for _ in $(seq 600); do
  [ -d stopped/teacher/checkpoints ] && ls stopped/teacher/checkpoints | grep -q gen- && break
  sleep 0.1
done
run 0 status stopped --json
says '"alive":true'
says '"name":"teacher","stage":"train","state":"running"'
run 64 run tiny.ini --out stopped # a live folder
kill -TERM $program
wait $program
status=$?
mv first.out out
mv first.err err
[ $status -eq 75 ] || fail "exit code $status after TERM"
says "teacher: stopped on request"
says "retort resume stopped"
run 0 status stopped --json
says '"name":"teacher","stage":"train","state":"partial"'
run 0 resume stopped --only data
says "data: up to date"
# resume keeps the options of the start (4000 epochs), from another directory, too.
mkdir -p elsewhere
cd elsewhere || exit 1
run 0 resume ../stopped --dry-run
says "[2/5] teacher"
says "resume"
says "unfinished"
cd ..
# The same folder with the plan's own options is another recipe: nothing of the old is mixed in.
run 0 run tiny.ini --out stopped
says "teacher: run again (epochs was 4000, is 4"
[ "$(digest stopped)" = "$result" ] || fail "another result after a change of mind"
echo "$kills kills, the same result"
