#!/usr/bin/env bash
# A rank that gives up, dies or leaves brings the whole job down, soon and with the right exit code.
set -u
program="$(dirname "$RETORT")/mpi_job_end"
[ -x "$program" ] || { echo "FAIL: $program is not built"; exit 1; }
failures=0

# check HOW RANKS EXIT_CODE SECONDS: the job ends with the code (any: not 0) within the seconds.
check() {
  local how=$1 ranks=$2 code=$3 limit=$4 start end status
  start=$(date +%s%N)
  timeout -k 1 60 mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 --quiet \
    -n "$ranks" "$program" "$how" > /dev/null 2>&1 < /dev/null
  status=$?
  end=$(date +%s%N)
  local milliseconds=$(((end - start) / 1000000))
  if { [ "$code" = any ] && [ $status -ne 0 ]; } || [ "$status" = "$code" ]; then
    if [ $milliseconds -le $((limit * 1000)) ]; then
      echo "ok: $how on $ranks ranks: $status after $milliseconds ms"
      return
    fi
  fi
  echo "FAIL: $how on $ranks ranks: $status after $milliseconds ms, wanted $code within $limit s"
  failures=$((failures + 1))
}

check fine 3 0 10
for ranks in 1 2 4; do
  check abort $ranks 65 5
  check kill $ranks any 5
done
check abort-on-thread 2 66 5
check abort-in-barrier 3 67 5
check abort-while-stuck 2 68 9
check all-unwind 3 9 5
check unwind 2 70 16
exit $((failures > 0))
