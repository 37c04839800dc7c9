#!/usr/bin/env bash
# The test cluster itself: two nodes, MPI over both, batch jobs, an end that leaves nothing; also when
# its owner is killed, and beside another cluster.
. "$RETORT_SOURCE/tests/slurm/scripts/cluster.sh"

started=${EPOCHREALTIME/./}
cluster_up
took=$(((${EPOCHREALTIME/./} - started) / 1000))
echo "up after $took ms"
[ $took -lt 15000 ] || fail "up took $took ms"

srun -N2 -n2 bash -c 'echo $SLURMD_NODENAME' | sort | tr '\n' ' ' >out
[ "$(cat out)" = "n1 n2 " ] || fail "not both nodes"
for ranks in 2 4; do
  srun --mpi=pmix -N2 -n $ranks "$RETORT" ping >out 2>err || fail "ping on $ranks ranks"
  says "\"ranks\":$ranks"
done

# Daemons are reached from this host alone.
others=$(ss -Hltnp 2>/dev/null | grep slurm | awk '{print $4}' | grep -v '^127\.0\.0\.1:')
[ -z "$others" ] || fail "a daemon listens on $others"

printf '#!/bin/sh\necho done on $SLURM_JOB_NUM_NODES\n' >short.sh
job=$(sbatch --parsable -N2 -o "$work/short.log" short.sh)
within 20 is "$job" COMPLETED
grep -qx 'done on 2' short.log || fail "the batch job's output"
printf '#!/bin/sh\nexec sleep 600\n' >endless.sh
job=$(sbatch --parsable -N1 -o /dev/null endless.sh)
within 20 is "$job" RUNNING
scancel "$job"
within 20 is "$job" CANCELLED
grep -q "JobId=$job .*CANCELLED" "$cluster/jobcomp.log" || fail "jobcomp.log does not tell of job $job"

# A second cluster, whose owner is killed while a job runs on it, takes nothing along but its own.
second=$work/second
sleep 600 &
owner=$!
disown
testcluster up "$second" --owner $owner
(eval "$("$RETORT_SOURCE/slurm/testcluster" env "$second")" && sbatch -N2 -o /dev/null endless.sh) >out
sleep 1
pgrep -f -- "$second" >/dev/null || fail "the second cluster is not there"
kill -KILL $owner
second_gone() { [ ! -e "$second" ] && ! pgrep -f -- "$second" >/dev/null; }
within 10 second_gone
sinfo -h -t idle -o %D | grep -q . || fail "the first cluster has gone, too"

# A cluster with a job, a step and detached children goes at once, with all of them.
cat >stubborn.sh <<'STUBBORN'
#!/bin/bash
trap '' TERM USR2
srun bash -c 'trap "" TERM; setsid sleep 7654321 & sleep 7654321'
STUBBORN
job=$(sbatch --parsable -N2 -n4 -o /dev/null stubborn.sh)
sleepers() { [ "$(pgrep -cfx 'sleep 7654321')" = "$1" ]; }
within 20 sleepers 8
started=${EPOCHREALTIME/./}
testcluster down "$cluster"
echo "down after $(((${EPOCHREALTIME/./} - started) / 1000)) ms"
sleepers 0 || fail "children of a step live on"
[ ! -e "$cluster" ] || fail "files were left: $(find "$cluster")"
within 3 eval '! pgrep -f -- "$cluster" >/dev/null'
