#!/usr/bin/env bash
# One rank of four on two nodes is killed under srun -K1: the others are gone within 5 s, although
# they take the TERM that they are sent for a request to checkpoint; the job goes on by itself.
. "$RETORT_SOURCE/tests/slurm/scripts/cluster.sh"
long_plan 120 20
undisturbed
cluster_up
ranks() { pgrep -fx -- "$RETORT run $work/long.ini --out $work/killed"; }
gone() { [ -z "$(ranks)" ]; }
job killed -N2 --ntasks-per-node=2
within 60 beyond killed 30
[ "$(ranks | wc -l)" = 4 ] || fail "not four ranks: $(ranks)"
kill -KILL "$(ranks | tail -n 1)"
within 5 gone
echo "a rank killed, the others gone after $took ms"
within 60 logged killed 'resuming at step'
completes "$job" killed 90
[ "$(digest killed)" = "$result" ] || fail "a rank killed, another result"
[ "$(lost killed | wc -l)" = 1 ] || fail "not one resumption"
[ "$(lost killed)" -le 21 ] || fail "$(lost killed) steps were lost, with a checkpoint every 20"
