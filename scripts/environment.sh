# Sourced by every script here: where things are and how much of the machine to use.
RETORT_ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
export RETORT_ROOT
cd -- "$RETORT_ROOT" || exit 70
export RETORT_DATA=${RETORT_DATA:-$RETORT_ROOT/../shared/data}
export RETORT_GOLDEN=${RETORT_GOLDEN:-$RETORT_ROOT/../shared/methods/golden}
# OpenMPI refuses root unless told twice; containers and CI run as root.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# A step of every script that may take minutes says so, with the time of day.
say() { printf '[%s] %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
fail() { printf '%s: %s\n' "$(basename -- "$0")" "$*" >&2; exit 1; }
# Compile jobs: one per core, and at least 2 GB of free memory each.
compile_jobs() {
  local free_gb cores
  cores=$(nproc)
  free_gb=$(awk '/^MemAvailable/ {print int($2 / 2097152)}' /proc/meminfo)
  if [ "$free_gb" -lt "$cores" ]; then cores=$free_gb; fi
  echo $((cores < 1 ? 1 : cores))
}
