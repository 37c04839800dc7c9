#!/usr/bin/env bash
# The record of a run's jobs, of another run, damaged or of a submission that was killed: no job of another
# run is ended, a finished section stays finished, and `resume` submits what was to be submitted.
. "$RETORT_SOURCE/tests/slurm/scripts/cluster.sh"
run 0 run tiny.ini --out alone
result=$(digest alone)
cat >held.ini <<'SITE'
bind = none
sbatch = --hold
SITE
cluster_up
job_of() { "$RETORT" status "$1" --json | tr '{' '\n' | sed -n 's#.*"name":"'"$2"'".*"job":"\([0-9_]*\)".*#\1#p'; }
for name in own other; do
  run 0 submit tiny.ini --out $name --site held.ini
done
own=$(job_of own score)
other=$(job_of other score)
[ -n "$own" ] && [ -n "$other" ] || fail "no jobs: '$own' '$other'"

# Another run's record: the copy counts; without one, nothing is ended.
cp own/.slurm/jobs.json kept.json
cp other/.slurm/jobs.json own/.slurm/
run 0 cancel own
warns "its copy is right and is used"
is "$own" CANCELLED || fail "its own job is $(state "$own")"
is "$other" PENDING || fail "another run's job is $(state "$other")"
cp other/.slurm/jobs.json own/.slurm/
cp other/.slurm/jobs.json own/.slurm/.copies/
run 65 cancel own
warns "as many of its records are of one run as of another one"
is "$other" PENDING || fail "another run's job is $(state "$other")"
run 65 check own
says "own"
# Damaged with its copy: a finished section is done for the job script, a begun one goes on.
cp -r alone done
mkdir -p done/.slurm/.copies
cp kept.json done/.slurm/jobs.json
cp kept.json done/.slurm/.copies/jobs.json
flip done/.slurm/jobs.json
flip done/.slurm/.copies/jobs.json
run 0 status done --decide teacher
warns "jobs.json"

# Killed before the first file of the submission, behind the record of it, and before its first job.
run 0 cancel other
sed -i /hold/d held.ini
for point in jobs.json:1 .plan/settings.json:1 .slurm/data.sh:1; do
  rm -rf killed
  before=$(squeue -h -t all -r | wc -l)
  RETORT_FAULT_POINT="atomic-rename@$point:kill" "$RETORT" submit tiny.ini --out killed --site held.ini >out 2>err
  code=$?
  [ $code = 137 ] || fail "$point: not met ($code): $(cat err)"
  [ "$(squeue -h -t all -r | wc -l)" = "$before" ] || fail "$point: a job was submitted"
  if [ -e killed/.plan/settings.json ]; then
    run 0 resume killed
    says 'data    '
  else
    run 0 submit tiny.ini --out killed --site held.ini
  fi
  last=$(job_of killed score)
  [ -n "$last" ] || fail "$point: no job: $(cat out err)"
  within 60 is "$last" COMPLETED
  [ "$(digest killed)" = "$result" ] || fail "$point: another result"
done
