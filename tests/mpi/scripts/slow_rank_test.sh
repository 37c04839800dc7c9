#!/usr/bin/env bash
# teach: ranks claim shards, so a slow rank claims fewer and holds nobody up. The slow one is rank 1,
# stopped right after the first shard is there and let go when rank 0 has done most of the rest.
. "$(dirname "$0")/../../unit/scripts/strict.sh"
slow=""
leave() {
  if [ -n "$slow" ]; then kill -CONT "$slow" 2>/dev/null || true; fi
  rm -rf "$work"
}

quietly pack --from glyphs --characters 60 --out data
quietly train --data data --model resnet20 --width 16 --batch 64 --steps 2 --out teacher
shard=(teach --data data --model teacher --top-k 5 --batch 4 --shard-samples 4 --threads 1)
quietly "${shard[@]}" --out alone
total=$(find alone -name 'shard-*.h5' | wc -l)
[ "$total" -ge 100 ] || fail "only $total shards: too few to tell ranks apart"

# Each rank leaves its process id; exec keeps it.
cat >rank.sh <<'RANK'
echo $$ >pid.$OMPI_COMM_WORLD_RANK.tmp && mv pid.$OMPI_COMM_WORLD_RANK.tmp pid.$OMPI_COMM_WORLD_RANK
exec "$RETORT" "$@"
RANK
done_shards() { find shared/members -name '*.json' 2>/dev/null | wc -l; }
wait_for() {  # SHARDS SECONDS
  local end=$((SECONDS + $2))
  until [ "$(done_shards)" -ge "$1" ] || [ -e shared/manifest.json ]; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.02
  done
}
mpirun -q --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -n 2 bash rank.sh \
  "${shard[@]}" --out shared --json >out 2>err &
job=$!
wait_for 1 60 || fail "no shard within a minute"
slow=$(cat pid.1)
kill -STOP "$slow"
seen=$(done_shards)
[ ! -e shared/manifest.json ] || fail "all was done before rank 1 could be stopped"
[ "$seen" -lt $((total / 3)) ] || fail "$seen of $total shards were done before rank 1 was stopped"
# What rank 1 has claimed, and what lies in its queue, is all that rank 0 can't do.
wait_for $((total - 6)) 240 || fail "rank 0 stopped at $(done_shards) of $total shards"
kill -CONT "$slow"
slow=""
code=0
wait $job || code=$?
[ $code -eq 0 ] || fail "exit code $code"

read -r first second sum < <(sed -n 's/.*"shards_by_rank":\[\([0-9]*\),\([0-9]*\)\].*/\1 \2/p' out |
  awk '{print $1, $2, $1 + $2}')
[ "$sum" = "$total" ] || fail "ranks report $sum of $total shards"
[ "$first" -ge $((2 * second)) ] || fail "the slow rank claimed $second shards, the other $first"
grep -q '"shards_by_rank"' shared/results.json || fail "results.json doesn't say which rank did what"
cmp alone/manifest.json shared/manifest.json || fail "another result with a slow rank"
diff -r alone/pass-00 shared/pass-00 || fail "other shards with a slow rank"
echo "rank 0: $first shards, slow rank 1: $second, of $total"
