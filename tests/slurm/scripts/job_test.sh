#!/usr/bin/env bash
# A plan as a batch job on two nodes, one and two ranks on each: the result of a local run, bit for
# bit. One rank killed under srun -K1: the others are gone within 5 s, and the next start goes on.
. "$RETORT_SOURCE/tests/slurm/scripts/cluster.sh"
cp tiny.ini long.ini
undisturbed
cluster_up
for each in 1 2; do
  job "each-$each" -N2 --ntasks-per-node=$each
  completes "$job" "each-$each" 60
  [ "$(digest each-$each)" = "$result" ] || fail "$each rank(s) on each node, another result"
  [ "$(grep -c 'ended with 0' each-$each.log)" = $((2 * each)) ] || fail "not all ranks ended with 0"
  ! grep -qiE 'error|warning' each-$each.log || fail "noise: $(cat each-$each.log)"
done
