# Sourced by tests of plans: a work folder of its own, how to start the program, alone or on ranks, and
# how to judge what it says.
set -u
: "${RETORT:?}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export RETORT_LOG_LEVEL=info
unset RETORT_DATA

fail() {
  echo "FAILED: $*"
  [ -f out ] && sed 's/^/  out: /' out
  [ -f err ] && sed 's/^/  err: /' err
  exit 1
}

# run STATUS ARGUMENTS...: the program must end with STATUS; its output goes to out and err.
run() {
  local want=$1
  shift
  "$RETORT" "$@" >out 2>err
  local got=$?
  [ $got -eq "$want" ] || fail "retort $*: exit code $got instead of $want"
}
says() { grep -qF -- "$1" out || fail "no '$1' on standard output"; }
warns() { grep -qF -- "$1" err || fail "no '$1' on standard error"; }
silent_about() { ! grep -qF -- "$1" out || fail "'$1' on standard output"; }
digest() { "$RETORT" inspect --digest "$1" || fail "no digest of $1"; }
# on RANKS ARGUMENTS...: the program's status on so many ranks; its output goes to out and err.
on() {
  local ranks=$1
  shift
  mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -n "$ranks" "$RETORT" "$@" \
    >out 2>err
}
