#!/usr/bin/env bash
# A node that is killed and back within seconds (in the lab, as root), twice: slurmstepd's sockets of
# the killed step are still there, at which a step of the same number fails. The section's job tries
# the next number and goes on by itself, with the undisturbed result.
. "$RETORT_SOURCE/tests/slurm/scripts/cluster.sh"
if [ "$(id -u)" != 0 ] || ! unshare --net --mount --uts --pid --fork true 2>/dev/null; then
  echo "not root, or no namespaces: no node falls silent here"
  exit 77
fi
long_plan 300 20
undisturbed
cluster_up --lab
"$RETORT" submit long.ini --out quick --nodes 1 --ranks-per-node 2 --cpus 1 >out 2>err || fail "submit"
ln -s quick/.slurm/teacher.log teacher.log
running() { job=$(squeue -h -n long.teacher -t RUNNING -o %i) && [ -n "$job" ]; }
for past in 30 130; do
  within 120 beyond teacher $past
  within 10 running
  node=$(squeue -h -j "$job" -o %N)
  testcluster kill "$node" "$cluster"
  sleep 2
  testcluster boot "$node" "$cluster"
  echo "past step $past: $node killed and back"
done
no_job() { [ -z "$(squeue -h)" ]; }
within 180 no_job
[ -e quick/score/manifest.json ] || fail "the plan is not done: $(cat quick/.slurm/*.log | grep -v 'step [0-9]*/')"
[ "$(digest quick)" = "$result" ] || fail "a node killed and back, another result"
[ "$(grep -c 'resuming at step' teacher.log)" = 2 ] || fail "not two starts that went on"
echo "tried again under another number: $(grep -c 'has not begun in this start' teacher.log) times"
