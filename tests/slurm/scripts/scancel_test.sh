#!/usr/bin/env bash
# scancel, again and again: all ranks checkpoint and end with 75, the next job goes on and has lost at
# most one step, and the result is that of the undisturbed run.
. "$RETORT_SOURCE/tests/slurm/scripts/cluster.sh"
cancels=5
long_plan 400
undisturbed
cluster_up
ended() { [ "$(grep -c 'ended with 75' moved.log)" = $((2 * $1)) ]; }
resumed() { [ "$(lost moved | wc -l)" = "$1" ]; }

for ((cancel = 1; cancel <= cancels; ++cancel)); do
  job moved -N$((cancel % 2 + 1)) -n2
  [ $cancel = 1 ] || within 30 resumed $((cancel - 1))
  reached=$(step moved)
  within 30 beyond moved $((${reached:-0} + 5 + 3 * cancel))
  scancel "$job"
  within 15 is "$job" CANCELLED
  within 15 ended $cancel
  # Until it is gone, the next one would be told that the folder is in use.
  within 15 grep -q "JobId=$job .*JobState=CANCELLED" "$cluster/jobcomp.log"
done
job moved -N2 -n2
completes "$job" moved 120
[ "$(digest moved)" = "$result" ] || fail "cancelled $cancels times, another result"
[ "$(lost moved | wc -l)" = $cancels ] || fail "not $cancels resumptions"
for steps in $(lost moved); do
  [ "$steps" -le 1 ] || fail "$steps steps were lost"
done
echo "$cancels jobs cancelled; steps lost: $(lost moved | tr '\n' ' ')"
