#!/usr/bin/env bash
# Preemption, scontrol requeue, and a time limit announced by USR2: the ranks checkpoint and end with
# 75, the job starts again, loses at most one step and has the undisturbed run's result.
. "$RETORT_SOURCE/tests/slurm/scripts/cluster.sh"
long_plan 400
undisturbed
cluster_up
up_since=$SECONDS
# stopped NAME START: all ranks of that start ended with 75.
stopped() { [ "$(grep -c "of start $2 ended with 75" "$1.log")" = 2 ]; }
went_on() { # NAME START STEP: that start has gone on, beyond the step
  logged "$1" "^start $2 " && [ "$(lost "$1" | wc -l)" = "$2" ] && beyond "$1" "$3"
}

job moved -N2 --ntasks-per-node=1
within 30 beyond moved 10
printf '#!/bin/sh\nsleep 1\n' >urgent.sh
urgent=$(sbatch --parsable -p urgent -N2 --exclusive -o /dev/null urgent.sh)
within 30 is "$urgent" COMPLETED
grep -q "JobId=$job .*JobState=PREEMPTED" "$cluster/jobcomp.log" ||
  fail "job $job was not preempted"
within 10 stopped moved 0
within 30 went_on moved 1 $(($(step moved) + 5))
scontrol requeue "$job" || fail "scontrol requeue"
within 30 went_on moved 2 $(($(step moved) + 5))
within 10 stopped moved 1
completes "$job" moved 120
[ "$(digest moved)" = "$result" ] || fail "preempted and requeued, another result"

# slurmctld looks every 30 s, from its start on, which jobs to warn, and warns up to 30 s early: this
# job starts some five seconds before it looks, so that steps are done before the warning and left to be
# done after it: 400 take five to nine seconds on a fast machine. A job that was through before the
# warning came shows nothing; the next one starts a second later in the same span.
limit=
for second in 24 25 26 27; do
  while [ $(((SECONDS - up_since) % 30)) -ne $second ]; do sleep 0.2; done
  limit=limit$second
  job "$limit" -N2 --ntasks-per-node=1 --time=1 --signal=USR2@50
  within 60 logged "$limit" 'ended with'
  grep -q 'of start 0 ended with 0' "$limit.log" || break
  echo "$limit: its steps were done before it was warned"
done
within 10 stopped "$limit" 0
echo "USR2 at step $(step "$limit")"
within 30 went_on "$limit" 1 $(($(step "$limit") + 1))
completes "$job" "$limit" 120
[ "$(digest "$limit")" = "$result" ] || fail "warned of the time limit, another result"

for name in "$limit" moved; do
  for steps in $(lost $name); do
    [ "$steps" -le 1 ] || fail "$name: $steps steps were lost"
  done
  echo "$name: steps lost at each stop: $(lost $name | tr '\n' ' ')"
done
