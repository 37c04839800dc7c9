#!/usr/bin/env bash
# `retort submit` on the cluster: what the cluster does not allow is refused before anything is
# submitted; jobs wait for each other; requeued, warned, cancelled and resumed, the plan has the
# result of an undisturbed run.
. "$RETORT_SOURCE/tests/slurm/scripts/cluster.sh"
long_plan 200
sed -i '/^\[student\]/a seeds = 1,2' long.ini
cp tiny.ini short.ini
# Meanwhile, apart from the cluster: what the plans give undisturbed.
{ "$RETORT" -n 2 run long.ini --out undisturbed && "$RETORT" run short.ini --out alone; } >undisturbed.out 2>&1 &
undisturbed=$!
cat >site.ini <<'SITE'
bind = none
nodes = 2
ranks = 2
cpus = 1
time = 10
warn = 60
prolog = export FROM_PROLOG=yes
[evaluate]
nodes = 1
ranks = 1
SITE
refused() { # TEXT ARGUMENTS...
  local text=$1
  shift
  run 64 submit long.ini --out refused --site site.ini "$@"
  warns "$text"
  [ "$(wc -l <err)" = 1 ] || fail "not one line"
}

# Without Slurm: a dry run shows everything, a submission is refused.
run 0 submit long.ini --out refused --site site.ini --dry-run
says '#SBATCH --signal=USR2@60'
says 'sbatch --parsable --array=1,2 --dependency=afterok:<data>,aftercorr:<student>'
warns 'nothing was checked against a cluster'
(PATH=/nowhere; exec "$RETORT" submit long.ini --out refused) >out 2>err
[ $? = 64 ] || fail "no sbatch, and another exit code"
warns 'there is no sbatch on PATH'
cluster_up
refused "there is no partition 'norml'; did you mean normal?" --partition norml
refused 'section data: nodes: partition normal has 2 nodes, 3 are asked for' --nodes 3 -n 3
refused 'time: partition urgent allows 0:10:00 at most, 0:11:00 is asked for' --partition urgent --time 11
refused 'no node of partition normal has more than 8' --cpus 9
refused 'no node of partition normal has more than 4000 MB' --mem 5G
refused 'gpus: 1 are asked for' --gpus 1
refused 'ends before the warning' --time 1
refused 'section teacher: 8 ranks but only 4 micro-shards' -n 8
[ -z "$(squeue -h -t all)" ] || fail "a refused submission left jobs: $(squeue -h -t all)"
[ ! -e refused ] || fail "a refused submission left a folder"
# What sbatch itself refuses takes along what was submitted before.
printf '[distill]\nsbatch = --license=none-such\n' | cat site.ini - >bad.ini
run 64 submit long.ini --out refused --site bad.ini
warns 'sbatch refuses'
all_cancelled() { ! squeue -h -t all -r -o %T | grep -v CANCELLED; }
within 10 all_cancelled
[ "$(squeue -h -t all -r | wc -l)" = 3 ] || fail "not three jobs before the one that was refused"

run 0 submit long.ini --out plan --site site.ini --json
jobs=$(sed -n 's/.*"jobs"://p' out)
job_of() { "$RETORT" status plan --json | tr '{' '\n' | sed -n 's#.*"name":"'"$1"'".*"job":"\([0-9_]*\)".*#\1#p'; }
teacher=$(job_of teacher)
[[ $jobs == *'"section":"teacher","job":"'$teacher'"'* ]] || fail "jobs and status differ: $jobs"
score=$(job_of score/seed-2)
[[ $score == *_2 ]] || fail "the seeds of score are no array: $score"
ln -s plan/.slurm/teacher.log teacher.log
within 40 beyond teacher 10
run 0 status plan
says "$teacher RUNNING"
grep -qE "^score/seed-2 .* $score PENDING \(Dependency\)" out || fail "score does not wait"
run 64 resume plan
warns "teacher (job $teacher, RUNNING)"
run 64 submit long.ini --out plan --site site.ini
warns "score/seed-1 (job ${score%2}1, PENDING)"

started() { grep -c 'section teacher on' teacher.log; }
is_start() { [ "$(started)" = "$1" ]; }
went_on() { [ "$(lost teacher | wc -l)" = "$1" ] && beyond teacher "$2"; }
scontrol requeue "$teacher" || fail "scontrol requeue"
within 40 went_on 1 $(($(step teacher) + 5))
# As slurmctld warns before the time limit, which it does every 30 s only.
scancel --signal=USR2 "$teacher"
within 40 went_on 2 $(($(step teacher) + 5))
grep -q 'goes on in the next start' teacher.log || fail "the job did not requeue itself"
is_start 3 || fail "$(started) starts instead of 3"

run 0 cancel plan
says "teacher: job $teacher, which was RUNNING, is FAILED"
says "score/seed-2: job $score, which was PENDING, is CANCELLED"
run 0 status plan
says "$teacher FAILED (by retort cancel)"
run 65 status plan --decide teacher
warns "its job $teacher is FAILED, and no other is queued"
run 65 status plan --decide score
warns "is CANCELLED, and no other is queued"
run 0 cancel plan
says 'no job of this run waits or runs'
grep -q 'start 2: cancelled' teacher.log || fail "the job does not know that it was cancelled"
is_start 3 || fail "it was requeued although it was cancelled"
# A submit that was killed between sbatch's answer and the record of it.
orphan=$(sbatch --parsable --hold "$PWD/plan/.slurm/teacher.sh") || fail "sbatch"
run 64 resume plan
warns "teacher.sh (job $orphan, PENDING)"
run 0 cancel plan
says "teacher.sh: job $orphan, which was PENDING and on no record, is ended"
[ ! -e plan/logits ] || fail "logits ran after a teacher that was cancelled"

run 0 resume plan
! grep -q '^data ' out || fail "data is done and was submitted again"
# One job with a step for each section; and a section that fails takes those after it along.
run 0 submit short.ini --out together --site site.ini --one-job
all=$(sed -n 's/^score *//p' out)
printf '[train]\nprogram = /nowhere/retort\n' | cat site.ini - >bad.ini
run 0 submit short.ini --out hopeless --site bad.ini
hopeless=$(sed -n 's/^score *//p' out)
score=$(job_of score/seed-1)
within 60 is "$score" COMPLETED
within 20 is "${score%1}2" COMPLETED
wait $undisturbed || fail "the undisturbed runs: $(cat undisturbed.out)"
result=$(digest undisturbed/score/seed-1)$(digest undisturbed/score/seed-2)
[ "$(digest plan/score/seed-1)$(digest plan/score/seed-2)" = "$result" ] || fail "another result"
for steps in $(lost teacher); do [ "$steps" -le 1 ] || fail "$steps steps were lost"; done
echo "steps lost at each stop: $(lost teacher | tr '\n' ' ')"
run 0 resume plan
says 'nothing to submit'
run 0 resume plan --here
says 'score/seed-2: up to date'
run 0 check plan
# Restarts that are used up: refused, until --retry begins their count anew.
for start in 1 2 3 4; do
  RETORT_FAULT_POINT=sample-7:1:kill "$RETORT" run short.ini --out used >used.out 2>&1
done
run 65 submit short.ini --out used --site site.ini
warns 'restarts'
run 0 submit short.ini --out used --site site.ini --retry
used=$(sed -n 's/^score *//p' out)
within 40 is "$hopeless" CANCELLED
grep -q 'section teacher: given up' hopeless/.slurm/teacher.log || fail "why was it given up?"
within 40 is "$all" COMPLETED
[ "$(digest together/score)" = "$(digest alone/score)" ] || fail "as steps of one job, another result"
within 60 is "$used" COMPLETED
[ "$(digest used/score)" = "$(digest alone/score)" ] || fail "retried, another result"
