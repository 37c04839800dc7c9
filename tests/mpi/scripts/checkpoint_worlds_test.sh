#!/bin/bash
# A run goes on over 1, 2, 3 and 4 ranks in turn and is killed at every fault point, on the first and
# on the last rank. Each start must resume from the last committed step or the one in progress, with
# the right state; an error or a lost step fails the test.
set -u
program=$(dirname "${RETORT:?}")/mpi_checkpoint_worlds
if [ ! -x "$program" ]; then
  echo "FAILED: $program is not built"
  exit 1
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

start() {  # RANKS ARGUMENTS...
  local ranks=$1
  shift
  mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -n "$ranks" "$program" \
    "$folder/run" "$@" >"$folder/out" 2>"$folder/err"
}
number() {  # WORD: its last number in the output
  sed -n "s/^$1 //p" "$folder/out" | tail -1
}
fail() {
  echo "FAILED: $*"
  cat "$folder/out" "$folder/err"
  exit 1
}

start 2 2 || fail "first start"
committed=$(number committed)
kills=0
turn=0
for point in claim:1 checkpoint-part:1 checkpoint-part:2 checkpoint-manifest:1 \
  checkpoint-manifest:2 checkpoint-prune:1 checkpoint-prune:2 atomic-open:2 atomic-write:3 \
  atomic-fsync:2 atomic-rename:3 atomic-committed:2 atomic-committed:4; do
  ranks=$((turn % 4 + 1))
  case $point in
    claim* | checkpoint-manifest* | checkpoint-prune*) rank=0 ;;  # passed by rank 0 alone
    *) rank=$((turn % 2 * (ranks - 1))) ;;
  esac
  turn=$((turn + 1))
  start $ranks 3 $rank "$point:kill" && status=0 || status=$?
  resumed=$(number resumed)
  now=$(number committed)
  [ $status -eq 0 ] || kills=$((kills + 1))
  [ -n "$resumed" ] && [ "$resumed" -lt "$committed" ] && fail "$point: step $committed was lost"
  [ -n "$now" ] && committed=$now
  start $(((turn + 1) % 4 + 1)) 1 || fail "$point on rank $rank of $ranks: the next start failed"
  resumed=$(number resumed)
  if [ "$resumed" -lt "$committed" ] || [ "$resumed" -gt $((committed + 1)) ]; then
    fail "$point on rank $rank of $ranks: resumed from $resumed, committed was $committed"
  fi
  committed=$(number committed)
  echo "$point on rank $rank of $ranks: exit $status, resumed from $resumed"
done
[ $kills -ge 10 ] || fail "only $kills of $turn starts were killed"
echo "$kills of $turn starts killed, $committed steps committed"
