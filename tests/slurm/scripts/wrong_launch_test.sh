#!/usr/bin/env bash
# Wrong ways to start ranks under srun: exit code 64 and one clear line each, and nothing is written.
. "$RETORT_SOURCE/tests/slurm/scripts/cluster.sh"
cluster_up
train=(train --data no-data --model mlp --out nothing)

# refused WORDS: the last launch ended with 64 and one line that has them; srun's own lines do not count.
launch() { timeout 60 "$@" >out 2>err; code=$?; }
refused() {
  [ $code = 64 ] || fail "exit code $code, not 64: $(cat err)"
  [ "$(grep -c '^retort.*error' err)" = 1 ] || fail "not one line: $(cat err)"
  grep '^retort.*error' err | grep -qF -- "$1" || fail "the line has no '$1': $(cat err)"
  [ ! -e nothing ] || fail "a folder was made"
  echo "refused: $(grep '^retort.*error' err)"
}

# 1: tasks that know nothing of each other.
launch srun --mpi=none -N2 -n2 "$RETORT" "${train[@]}"
refused "srun started 2 tasks, and MPI knows of one"
launch srun --mpi=none -K1 -N1 -n3 "$RETORT" "${train[@]}"
refused "srun --mpi=pmix"
# 2: a PMI that this Open MPI does not speak.
launch srun --mpi=pmi2 -N2 -n2 "$RETORT" "${train[@]}"
refused "srun started 2 tasks, and MPI knows of one"

# 3: ranks with other options.
cat >multi <<PROGRAMS
0 $RETORT ${train[*]}
1 $RETORT ${train[*]} --epochs 7
PROGRAMS
launch srun --mpi=pmix -N2 -n2 --multi-prog multi
refused "'epochs' differs between ranks"

# 4: ranks of another build: a copy whose build id has one other bit.
python3 - "$RETORT" other <<'PYTHON'
import os, re, subprocess, sys
notes = subprocess.run(["readelf", "-n", sys.argv[1]], stdout=subprocess.PIPE, text=True).stdout
build = bytes.fromhex(re.search(r"Build ID: ([0-9a-f]+)", notes)[1])
program = open(sys.argv[1], "rb").read()
assert program.count(build) == 1
open(sys.argv[2], "wb").write(program.replace(build, bytes([build[0] ^ 1]) + build[1:]))
os.chmod(sys.argv[2], 0o755)
PYTHON
printf '0 %s\n1 %s\n' "$RETORT ${train[*]}" "$work/other ${train[*]}" >multi
launch srun --mpi=pmix -N2 -n2 --multi-prog multi
refused "'program build' differs between ranks"

# 5: more workers than the cores can bear.
launch srun --mpi=pmix -N1 -n2 "$RETORT" --threads $((9 * $(nproc))) "${train[@]}"
refused "fewer --threads or fewer ranks"

# And the same tasks started rightly.
srun --mpi=pmix -N2 -n2 "$RETORT" ping >out 2>err || fail "ping: $(cat err)"
grep -q '"ranks":2' out || fail "ping on 2 ranks: $(cat out)"
