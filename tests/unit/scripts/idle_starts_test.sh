#!/usr/bin/env bash
# status --decide in a Slurm job: starts that never get as far as the section are counted by Slurm's
# restarts, so that a job which cannot even start its ranks does not requeue itself for ever.
. "$(dirname "$0")/tiny_plan.sh"
decide() { # STATUS JOB RESTARTS
  SLURM_JOB_ID=$2 SLURM_RESTART_COUNT=$3 "$RETORT" status run --decide teacher >out 2>err
  local got=$?
  [ $got = "$1" ] || fail "job $2, restart $3: exit code $got instead of $1"
}
run 0 run tiny.ini --out run --only data
# Job 7 begins nothing.
for restart in 0 1 2; do decide 75 7 $restart; done
decide 65 7 3
warns 'the last 4 starts of Slurm job 7 did not even begin section teacher'
# Its restart 1 begins and is killed: counted from there.
SLURM_JOB_ID=7 SLURM_RESTART_COUNT=1 RETORT_FAULT_POINT='checkpoint/*:1:kill' \
  "$RETORT" resume run --section teacher >out 2>err
decide 75 7 1
decide 75 7 4
decide 65 7 5
# Another job starts with a count of its own; outside Slurm nothing is counted.
decide 75 8 0
decide 65 8 3
run 75 status run --decide teacher
run 0 run tiny.ini --out run
decide 0 7 9
