#!/usr/bin/env bash
# A rank that stands still, sleeps while the others wait, spins or dies is named with host,
# collective and step, within the time set; the job is down within 5 s of that, with exit code 70.
set -u
program="$(dirname "$RETORT")/mpi_job_end"
[ -x "$program" ] || { echo "FAIL: $program is not built"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
fail() {
  echo "FAIL: $*"
  sed 's/^/  /' "$work/err"
  failures=$((failures + 1))
}
now() { echo $(($(date +%s%N) / 1000000)); }

# lost HOW RANKS BAD LIMIT_MS MOST_MS WORDS: the job must end with 70 between the limit and MOST_MS, and
# say one line with the bad rank and the words.
lost() {
  local how=$1 ranks=$2 bad=$3 limit=$4 most=$5 words=$6 start took status
  start=$(now)
  WATCHDOG_MS=$limit BAD_RANK=$bad timeout -k 1 90 mpirun --oversubscribe --bind-to none \
    --mca mpi_yield_when_idle 1 --quiet -n "$ranks" "$program" "$how" >"$work/out" 2>"$work/err" \
    </dev/null
  status=$?
  took=$(($(now) - start))
  [ $status -eq 70 ] || fail "$how, rank $bad of $ranks: exit code $status"
  [ $took -le "$most" ] || fail "$how, rank $bad of $ranks: down after $took ms"
  [ "$(grep -c 'error: ' "$work/err")" = 1 ] || fail "$how, rank $bad of $ranks: not one line"
  grep -qE "error: rank $bad on host $(hostname) $words.*(before|in .*,) collective [0-9]+, at step 41" \
    "$work/err" || fail "$how, rank $bad of $ranks: no '$words'"
  echo "$how, rank $bad of $ranks, limit $limit ms: $took ms: $(grep -o 'rank [0-9].*' "$work/err" | head -1)"
}
for ranks in 2 3 4; do
  lost stand-still $ranks $((ranks - 1)) 1500 7000 "has been silent for"
done
lost stand-still 3 0 1500 7000 "has been silent for"
lost stand-still 4 1 1500 7000 "has been silent for"
lost sleep 2 1 1500 7000 "keeps the others waiting"
lost sleep 3 0 1500 7000 "keeps the others waiting"
lost spin 2 1 400 10000 "keeps the others waiting"

# Shorter than the limit is no loss.
WATCHDOG_MS=3000 timeout -k 1 60 mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 \
  -n 3 "$program" short-stop >"$work/out" 2>"$work/err" </dev/null || fail "a short stop: exit code $?"
[ ! -s "$work/err" ] || fail "a short stop was spoken of"
# An end that a rank explains itself gets no second line.
for how in abort all-unwind fine; do
  WATCHDOG_MS=1000 timeout -k 1 60 mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 \
    --quiet -n 3 "$program" $how >"$work/out" 2>"$work/err" </dev/null
  ! grep -q "error: rank" "$work/err" || fail "$how: a rank was called lost"
done
exit $((failures > 0))
