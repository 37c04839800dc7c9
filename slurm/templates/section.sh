#!/bin/bash
# Job teacher of the plan digits, written by `retort submit`. docs/slurm.md explains it.
#SBATCH --job-name=digits.teacher
#SBATCH --output="/home/you/runs/digits/.slurm/teacher.log"
#SBATCH --open-mode=append
#SBATCH --chdir="/home/you"
#SBATCH --requeue
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --signal=USR2@120
#SBATCH --partition=normal
#SBATCH --account=project
#SBATCH --time=12:00:00
#SBATCH --nodes=2
#SBATCH --ntasks=4
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=8
#SBATCH --mail-type=FAIL

# What the site file says.
type module >/dev/null 2>&1 || . /etc/profile
module load openmpi/4.1
export OMPI_MCA_btl=tcp,self

retort=/opt/retort/bin/retort
run=/home/you/runs/digits
launch=(--mpi=pmix --kill-on-bad-exit=1 --cpu-bind=cores)
inside=()
alone=()
threads=()

# Submitted from a step of another job? Its ranks are none of this job's.
unset PMIX_RANK PMIX_NAMESPACE PMI_RANK PMI_SIZE OMPI_COMM_WORLD_SIZE
# Workers are threads of retort's own: OpenMP is neither to multiply nor to pin them.
export OMP_NUM_THREADS=1 OMP_PROC_BIND=false
# A stop is for the ranks; this shell is to see how they end.
trap : TERM USR2
# The last task of an array has the SLURM_JOB_ID of the whole array.
job=$SLURM_JOB_ID
if [ -n "${SLURM_ARRAY_JOB_ID:-}" ]; then job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; fi
start=${SLURM_RESTART_COUNT:-0}
say() { echo "$(date '+%F %T') job $job, start $start: $*"; }

# Ends the script where this start of the job is not to do anything any more.
still_wanted() {
  # `retort cancel` leaves this mark: nobody wants the job to go on.
  if [ -e "$run/.slurm/cancelled" ]; then say "cancelled"; exit 75; fi
  # A start that was requeued meanwhile (preempted; its node cut off, now back) must not requeue the
  # job again: that would end the start that took over.
  for _ in 1 2 3 4 5 6; do
    if now=$(scontrol show job "$job"); then break; fi
    sleep 10
  done
  case "$now " in *"JobState=RUNNING "*) ;; *) say "not running any more"; exit 75 ;; esac
  case "$now " in *" Restarts=$start "*) ;; *) say "started anew elsewhere"; exit 75 ;; esac
}

go_on() {
  still_wanted
  say "goes on in the next start"
  scontrol requeue "$job"
  exit 75
}

# section NAME SRUN-OPTIONS...: its ranks, then what the run folder says; srun's exit code gets lost.
section() {
  local name=$1 attempt code decision told
  shift
  if [ -e "$run/.slurm/cancelled" ]; then say "cancelled"; exit 75; fi
  for attempt in 1 2 3 4; do
    say "section $name on $SLURM_JOB_NODELIST"
    srun "${launch[@]}" "$@" "${inside[@]}" "$retort" resume "$run" --section "$name" \
      "${threads[@]}"
    code=$?
    say "srun ended with $code"
    for _ in 1 2 3; do
      told=$("${alone[@]}" "$retort" status "$run" --decide "$name")
      decision=$?
      # Else the decision itself failed: a file system that stalls, a signal.
      case $decision in 0|64|65|75) break ;; esac
      sleep 10
    done
    # Once more, if the ranks did not even start: a node that was killed and is back may still hold
    # what a step of this number left there, the next srun's has another. Not after wrong options, nor
    # after a stop: the next start is to have the time.
    case $attempt:$code:$decision:$told in
      [123]:6[45]:*|[123]:75:*|[123]:14[03]:*) break ;;
      [123]:*:75:*"has not begun"*) ;;
      *) break ;;
    esac
    say "$told: tried again in $((5 * attempt)) s"
    sleep $((5 * attempt))
    still_wanted
  done
  case $decision in
    0) say "section $name is done" ;;
    75) go_on ;;
    *) say "section $name: given up"; exit $decision ;;
  esac
}

threads=(--threads 8)
section teacher --nodes=2 --ntasks=4 --ntasks-per-node=2 --cpus-per-task=8
