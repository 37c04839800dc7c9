# Sourced by tests of plans: a work folder of its own, how to start the program, alone or on ranks, and
# how to judge what it says.
set -u
: "${RETORT:?}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
. "$RETORT_SOURCE/tests/unit/scripts/damage.sh"
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
# until_held PID WHAT: waits until a start stopped itself at its fault point.
until_held() {
  local i
  for i in $(seq 300); do
    [ "$(cut -d ' ' -f 3 "/proc/$1/stat")" = T ] && return
    sleep 0.1
  done
  fail "$2: was not held"
}
# one_result PLAN FOLDER...: the plan on one rank into `one`, whose digest is $result; on 2, 3 and 4 ranks,
# with 1 and 2 threads, it gives the same, and the HDF5 files below the folders byte for byte.
one_result() {
  local plan=$1 ranks file
  shift
  on 1 run "$plan" --out one || fail "one rank"
  result=$(digest one)
  for ranks in 2 3 4; do
    on $ranks run "$plan" --out "ranks-$ranks" --threads $((1 + ranks % 2)) || fail "$ranks ranks"
    [ "$(digest "ranks-$ranks")" = "$result" ] || fail "$ranks ranks, another result"
    [ $# -eq 0 ] || for file in $(cd one && find "$@" -name '*.h5'); do
      cmp -s "one/$file" "ranks-$ranks/$file" || fail "$file differs on $ranks ranks"
    done
  done
  "$RETORT" check one >out 2>err || fail "check"
}
# result_after_kills PLAN LEAST PLACE:N...: killed as it renames its Nth file of a place, on turning
# numbers of ranks, $kills times and at least LEAST; gone on with on 3 ranks it gives $result.
result_after_kills() {
  local plan=$1 least=$2 place turn=0 status
  shift 2
  kills=0
  for place in "$@"; do
    turn=$((turn + 1))
    status=0
    RETORT_FAULT_POINT=${place%:*}/atomic-rename:${place#*:}:kill \
      on $((turn % 4 + 1)) run "$plan" --out killed || status=$?
    [ $status -eq 0 ] && break
    kills=$((kills + 1))
  done
  [ $kills -ge "$least" ] || fail "only $kills kills"
  on 3 run "$plan" --out killed --threads 2 || fail "going on"
  [ "$(digest killed)" = "$result" ] || fail "killed and resumed, another result"
}
# on RANKS ARGUMENTS...: the program's status on so many ranks; its output goes to out and err.
on() {
  local ranks=$1
  shift
  mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -n "$ranks" "$RETORT" "$@" \
    >out 2>err
}
