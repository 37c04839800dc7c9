#!/usr/bin/env bash
# A node that dies: its job is requeued after SlurmdTimeout and goes on, with the undisturbed result.
# A node that is cut off, then comes back (in the lab, as root): its old ranks live on all the while
# and commit nothing.
. "$RETORT_SOURCE/tests/slurm/scripts/cluster.sh"
long_plan 300 20
undisturbed
lab=()
if [ "$(id -u)" = 0 ] && unshare --net --mount --uts --pid --fork true 2>/dev/null; then lab=(--lab); fi
cluster_up "${lab[@]}"

job dead -N1 -n2
within 60 beyond dead 30
node=$(squeue -h -j "$job" -o %N)
testcluster kill "$node" "$cluster"
within 60 logged dead 'resuming at step'
echo "node killed: went on after $took ms"
testcluster boot "$node" "$cluster"
completes "$job" dead 120
[ "$(digest dead)" = "$result" ] || fail "a node killed, another result"
[ "$(lost dead)" -le 21 ] || fail "$(lost dead) steps were lost, with a checkpoint every 20"
if [ ${#lab[@]} = 0 ]; then
  echo "not root, or no namespaces: a node cannot be cut off here"
  exit 0
fi

node_idle() { [ "$(sinfo -h -n "$1" -p normal -o %T)" = idle ]; }
within 60 node_idle "$node"
job orphaned -N1 -n2
within 60 beyond orphaned 30
node=$(squeue -h -j "$job" -o %N)
testcluster cut "$node" "$cluster"
# Slurm takes some 20 s to give the node up, in which the orphan would finish. So it stands still until
# the next start begins, then lives on beside it.
orphans=$(pgrep -fx -- "$RETORT run $work/long.ini --out $work/orphaned")
[ "$(wc -w <<<"$orphans")" = 2 ] || fail "not two ranks: $orphans"
kill -STOP $orphans
within 60 logged orphaned '^start 1 on'
echo "node cut off: started elsewhere after $took ms"
kill -CONT $orphans
[ "$(squeue -h -j "$job" -o %N)" != "$node" ] || fail "the job is on the node that was cut off"
within 60 logged orphaned 'resuming at step'
# At its next commit the orphan finds that it has been taken over, and ends.
within 60 logged orphaned 'was taken over by start'
within 30 logged orphaned 'rank 0 of start 0 ended with'
! logged orphaned 'of start 0 ended with 0' || fail "the orphan ended as if it had done its work"
# Once back, the orphan's srun may have Slurm cancel "its" step, which by number is the one of the
# start that took over: that one is then stopped, too, with a checkpoint, and starts once more. As at a
# site, a node that was lost gets no new jobs until it has been looked at: for as long as its slurmd
# still clears the orphan away it refuses the job's new start, and Slurm holds a job so refused.
scontrol update nodename="$node" state=drain reason="was cut off"
testcluster heal "$node" "$cluster"
completes "$job" orphaned 120
[ "$(digest orphaned)" = "$result" ] || fail "a node cut off, another result"
node_drained() { [ "$(sinfo -h -n "$node" -p normal -o %T)" = drained ]; }
within 60 node_drained
scontrol update nodename="$node" state=resume
within 60 node_idle "$node"
