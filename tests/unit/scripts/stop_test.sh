#!/usr/bin/env bash
# A stop that is asked for: TERM and USR2 to `retort -n 2` end it with 75 and a checkpoint, the next
# start goes on; a killed start leaves no ranks behind.
. "$RETORT_SOURCE/tests/unit/scripts/start.sh"
mkdir -p pictures/a pictures/b
for number in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
  for class in a b; do
    printf 'P2\n4 4\n255\n%d 0 0 9 0 0 0 0 0 7 0 0 0 0 0 %d\n' $((number * 9)) \
      "$([ $class = a ] && echo 200 || echo 20)" >pictures/$class/$number.pgm
  done
done
ends 0 "$RETORT" pack --from folder --source pictures --out data --split train=rest

train=("$RETORT" -n 2 train --data data --model mlp --out run --batch 32 --micro-shards 2 --threads 1)
# stop SIGNAL: ends it once it trains; its exit code becomes $got.
stop() {
  "${train[@]}" --steps 100000000 --evaluate-every 1000000 >out.txt 2>err.txt &
  local start=$!
  for _ in $(seq 600); do
    [ -e run/heartbeat.json ] && pgrep -P "$start" >/dev/null && break
    sleep 0.1
  done
  sleep 1
  kill "-$1" $start
  wait $start
  got=$?
  out=$(cat out.txt)
  err=$(cat err.txt)
}
for signal in TERM USR2; do
  called="stop by $signal"
  stop $signal
  [ $got -eq 75 ] || fail "exit code $got after $signal"
  case "$err" in *error*) fail "an error after $signal" ;; esac
  ls -d run/checkpoints/gen-* >/dev/null 2>&1 || fail "no checkpoint after $signal"
  [ ! -e run/manifest.json ] || fail "a stopped run looks complete"
done

# A stop that comes at once, while ranks are still being started, is no error either.
for wait in 0 0.05 0.1 0.2 0.4 0.8; do
  "${train[@]}" --steps 100000000 --evaluate-every 1000000 >out.txt 2>err.txt &
  start=$!
  sleep $wait
  kill -USR2 $start
  wait $start
  got=$?
  out=$(cat out.txt)
  err=$(cat err.txt)
  # Before the program has set itself up, a signal ends it as it ends any.
  [ $got -eq 75 ] || [ $got -eq $((128 + 12)) ] || fail "exit code $got after a stop at $wait s"
done

# timeout signals its whole process group by TERM. A Ctrl-C is one INT; timeout would send two, and
# the second one ends a program at once, so it sends it to the program alone.
one=("$RETORT" train --data data --model mlp --out run --batch 32 --micro-shards 2 --threads 1)
for start in "-n 2, TERM" "-n 2, INT" "one process, INT"; do
  called="stop of the process group: $start"
  rm -rf run
  words=("${train[@]}")
  [ "$start" = "one process, INT" ] && words=("${one[@]}")
  foreground=()
  [ "${start#*, }" = INT ] && foreground=(--foreground)
  timeout --preserve-status "${foreground[@]}" --signal "${start#*, }" 4 "${words[@]}" --steps 100000000 \
    --evaluate-every 1000000 >out.txt 2>err.txt
  got=$?
  out=$(cat out.txt)
  err=$(cat err.txt)
  [ $got -eq 75 ] || fail "exit code $got"
  case "$err" in *error*) fail "an error" ;; esac
  ls -d run/checkpoints/gen-* >/dev/null 2>&1 || fail "no checkpoint"
done

# A scheduler that sends TERM to mpirun, too: its ranks may die at once, the run can go on.
called="TERM for mpirun and the start"
"${train[@]}" --steps 100000000 --evaluate-every 1000000 >out.txt 2>err.txt &
start=$!
sleep 3
mpirun=$(pgrep -P $start)
kill -TERM $start $mpirun
wait $start
got=$?
out=$(cat out.txt)
err=$(cat err.txt)
[ $got -eq 75 ] || fail "exit code $got"

# Killed: its ranks end, too. They are known by the folder that they were told to write to.
ranks() { pgrep -f "[-]-out $work/killed" | wc -l; }
"$RETORT" -n 2 train --data data --model mlp --out "$work/killed" --batch 32 --micro-shards 2 \
  --threads 1 --steps 100000000 --evaluate-every 1000000 >out.txt 2>err.txt &
start=$!
for _ in $(seq 600); do
  [ -e killed/heartbeat.json ] && break
  sleep 0.1
done
[ "$(ranks)" -ge 3 ] || fail "expected the start, mpirun and two ranks, found $(ranks)"
kill -KILL $start
wait $start
for _ in $(seq 100); do
  [ "$(ranks)" -eq 0 ] && break
  sleep 0.1
done
[ "$(ranks)" -eq 0 ] || fail "ranks live on after their start was killed"
finish
