#!/bin/bash
# One plan on 1, 2, 3 and 4 ranks: the same result; and a run goes on over other numbers of ranks.
. "$RETORT_SOURCE/tests/unit/scripts/tiny_plan.sh"

on 1 run tiny.ini --out one || fail "one rank"
result=$(digest one)
for ranks in 2 3 4; do
  on $ranks run tiny.ini --out ranks-$ranks || fail "$ranks ranks"
  says "$ranks ranks"
  [ "$(grep -c 'score: done' out)" = 1 ] || fail "the summary line came from more than one rank"
  [ "$(digest ranks-$ranks)" = "$result" ] || fail "$ranks ranks, another result"
done
# Each section on another number of ranks, skipped by any.
turn=0
for section in data teacher logits student score; do
  turn=$((turn + 1))
  on $((turn % 4 + 1)) run tiny.ini --out mixed --only $section || fail "--only $section"
done
[ "$(digest mixed)" = "$result" ] || fail "mixed ranks, another result"
on 3 run tiny.ini --out mixed || fail "a finished plan"
silent_about "done in"
# An error of the plan comes once, from all ranks together.
on 3 run tiny.ini --out bad --set teacher.epoch=1
status=$?
[ $status -eq 64 ] || fail "exit code $status for an unknown option on 3 ranks"
[ "$(grep -c "did you mean 'epochs'" err)" = 1 ] || fail "the error came more than once"
[ ! -e bad ] || fail "a bad plan wrote something"
on 3 run tiny.ini --out bad --set student.micro-shards=2
status=$?
[ $status -eq 64 ] || fail "exit code $status for a section with less micro-shards than ranks"
warns "[student]: 3 ranks but only 2 micro-shards"
[ ! -e bad ] || fail "a plan that a section would have refused wrote something"
on 2 run tiny.ini --out bad --set score.split=none
status=$?
[ $status -eq 64 ] || fail "exit code $status for a missing split on 2 ranks"
echo "one result on 1, 2, 3 and 4 ranks"
