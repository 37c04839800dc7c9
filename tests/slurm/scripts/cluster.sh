# Sourced by tests of tier slurm, beside tiny_plan.sh: a Slurm of two nodes (slurm/testcluster, which
# says what it offers) for the length of the test, in $cluster, and how to submit to it and to wait.
#   cluster_up [--lab]     for tests; the cluster goes when the test ends, by whatever
for program in slurmctld slurmd munged srun; do
  command -v $program >/dev/null || { echo "there is no $program: scripts/setup slurm"; exit 77; }
done
. "$RETORT_SOURCE/tests/unit/scripts/tiny_plan.sh"
cluster=$work/cluster
testcluster() { "$RETORT_SOURCE/slurm/testcluster" "$@" || fail "testcluster $*"; }
leave() {
  [ ! -e "$cluster" ] || "$RETORT_SOURCE/slurm/testcluster" down "$cluster"
  rm -rf "$work"
}
trap leave EXIT
# A shell that is told to end must run its trap.
trap 'exit 143' TERM INT HUP
cluster_up() {
  testcluster up "$cluster" --owner $$ "$@"
  eval "$("$RETORT_SOURCE/slurm/testcluster" env "$cluster")"
}

# within SECONDS COMMAND...: the command succeeds within the time; $took is how long it was, in ms.
within() {
  local start=${EPOCHREALTIME/./} end
  end=$((start + $1 * 1000000))
  shift
  until "$@"; do
    [ "${EPOCHREALTIME/./}" -lt $end ] || { tell_job; fail "not in time: $*"; }
    sleep 0.1
  done
  took=$(((${EPOCHREALTIME/./} - start) / 1000))
}
# For the one who reads a failed test.
tell_job() {
  squeue -l 2>&1 | sed 's/^/  squeue: /'
  for file in "$work"/*.log; do
    [ ! -e "$file" ] || grep -vE 'step [0-9]+/[0-9]+ ' "$file" | sed "s/^/  ${file##*/}: /"
  done
  for file in "$cluster"/{slurmctld,n1,n2}.log; do
    [ ! -e "$file" ] || tail -n 40 "$file" | sed "s/^/  ${file##*/}: /"
  done
}

# long_plan STEPS: the plan tiny.ini, its teacher slow enough to be disturbed: STEPS steps of some
# 50 ms, each of which says so, and a checkpoint only when it is stopped. The rest follows from it.
long_plan() {
  sed -e '/^\[teacher\]/,/^\[logits\]/{
    s/^hidden = .*/hidden = 1400,1400/
    s/^epochs = .*/steps = '"$1"'\nevaluate-every = 1/
    s/^batch = .*/batch = 32/
    s/^checkpoint-every = .*/checkpoint-every = '"${2:-1000000}"'/
  }' tiny.ini >long.ini
}

# undisturbed: what the plan gives on this host alone; its digest is $result.
undisturbed() {
  "$RETORT" -n 2 run long.ini --out undisturbed >out 2>err || fail "the undisturbed run"
  result=$(digest undisturbed)
  rm out err
}

# job NAME OPTIONS...: a batch job that runs long.ini into the folder NAME and goes on until it is
# done; $job is its id, NAME.log its output. What sites' users write by hand.
job() {
  local name=$1
  shift
  cat >"$name.sh" <<JOB
#!/bin/bash
#SBATCH --job-name=$name --output=$work/$name.log --open-mode=append --requeue
echo "start \${SLURM_RESTART_COUNT:-0} on \$SLURM_JOB_NODELIST"
srun --mpi=pmix -K1 "$work/rank" "$RETORT" run "$work/long.ini" --out "$work/$name"
[ ! -e "$work/$name/score/manifest.json" ] || exit 0
# The script of a start that was requeued in the meantime (preempted; its node cut off, now back) must
# not requeue the job again: that would end the start that took over.
now=\$(scontrol show job \$SLURM_JOB_ID)
[[ \$now == *JobState=RUNNING* && \$now == *" Restarts=\${SLURM_RESTART_COUNT:-0} "* ]] || exit 0
scontrol requeue \$SLURM_JOB_ID
JOB
  job=$(sbatch --parsable --chdir="$work" "$@" "$name.sh") || fail "sbatch $name"
}
# What a rank ended with: srun's own exit code is the highest one, or a signal's.
cat >rank <<'RANK'
#!/bin/bash
trap : USR2 TERM  # for the program; this shell is to tell how it ended
"$@"
code=$?
echo "rank $SLURM_PROCID of start ${SLURM_RESTART_COUNT:-0} ended with $code" >&2
exit $code
RANK
chmod +x rank

state() { squeue -h -t all -j "$1" -o %T; }
is() { [ "$(state "$1")" = "$2" ]; }
logged() { grep -qE -- "$2" "$1.log" 2>/dev/null; }
# The step that job NAME has reached.
step() { sed -nE 's/.*step ([0-9]+)\/[0-9]+ .*/\1/p' "$1.log" 2>/dev/null | tail -n 1; }
beyond() { [ "$(step "$1")" -ge "$2" ] 2>/dev/null; }
completes() { # JOB NAME SECONDS
  within "$3" is "$1" COMPLETED
  [ -e "$2/score/manifest.json" ] || { tell_job; fail "$2: completed and not done"; }
}
# lost NAME: for each start that went on, how many steps of those before it were done again.
lost() {
  awk '/resuming at step/ {for (i = 1; i < NF; ++i) if ($i == "step") resumed = $(i + 1)
                           print reached - resumed}
       match($0, /step [0-9]+\/[0-9]+ /) {split(substr($0, RSTART + 5), words, "/"); reached = words[1]}' \
    "$1.log"
}
