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
for restart in 0 1 2; do
  decide 75 7 $restart
  grep -q '^section teacher has not begun in this start of the job$' out || fail "it began: $(cat out)"
done
decide 65 7 3
warns 'the last 4 starts of Slurm job 7 did not even begin section teacher'
# Its restart 1 begins and is killed: counted from there.
SLURM_JOB_ID=7 SLURM_RESTART_COUNT=1 RETORT_FAULT_POINT='checkpoint/*:1:kill' \
  "$RETORT" resume run --section teacher >out 2>err
decide 75 7 1
[ ! -s out ] || fail "it began in this start: $(cat out)"
decide 75 7 4
grep -q 'has not begun' out || fail "start 4 began nothing: $(cat out)"
decide 65 7 5
# Another job starts with a count of its own; outside Slurm nothing is counted.
decide 75 8 0
decide 65 8 3
run 75 status run --decide teacher
# One job with all sections: starts that the teacher needed are not the student's.
run 0 run tiny.ini --out one --only data
SLURM_JOB_ID=9 SLURM_RESTART_COUNT=5 "$RETORT" run tiny.ini --out one --only logits >out 2>err ||
  fail "the logits"
SLURM_JOB_ID=9 SLURM_RESTART_COUNT=5 run 75 status one --decide student
SLURM_JOB_ID=9 SLURM_RESTART_COUNT=7 run 75 status one --decide student
SLURM_JOB_ID=9 SLURM_RESTART_COUNT=8 run 65 status one --decide student
# What it needs is gone and nobody makes it: this is no reason to requeue for ever.
rm one/data/manifest.json
SLURM_JOB_ID=9 SLURM_RESTART_COUNT=6 run 75 status one --decide student
SLURM_JOB_ID=9 SLURM_RESTART_COUNT=9 run 65 status one --decide student
warns 'what it needs not done'
# A section that has nothing to do with it is not looked at.
cp tiny.ini wide.ini
printf '[other]\nstage = pack\nfrom = folder\nsource = gone\n' >>wide.ini
mkdir gone && cp -r pictures/* gone
run 0 run wide.ini --out wide --only teacher
rm -r gone
run 0 status wide --decide teacher
run 0 run tiny.ini --out run
decide 0 7 9
