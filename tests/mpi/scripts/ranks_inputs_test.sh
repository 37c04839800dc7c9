#!/usr/bin/env bash
# Ranks that read other bytes of one input, rank 1 in a mount namespace of its own: 65 and one line, and
# nothing is written. Needs root.
. "$(dirname "$0")/../../unit/scripts/tiny_plan.sh"
if [ "$(id -u)" != 0 ] || ! unshare --mount true 2>/dev/null; then
  echo "not root, or no namespaces: all ranks read the same here"
  exit 77
fi
cat >>tiny.ini <<'PLAN'

[exported]
stage = export
model = @teacher
PLAN
run 0 run tiny.ini --out whole
run 0 run tiny.ini --out other --set teacher.seed=5
cp -r whole/exported mine
file=mine/model.safetensors

cat >apart <<'APART'
#!/bin/bash
file=$1 other=$2
shift 2
[ "$OMPI_COMM_WORLD_RANK" = 1 ] || exec "$@"
exec unshare --mount bash -c 'mount --bind "$1" "$0" && shift && exec "$@"' "$file" "$other" "$@"
APART
chmod +x apart
# apart STATUS ARGUMENTS...: on two ranks, the second of which reads another model.
apart() {
  local want=$1
  shift
  mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -n 2 ./apart "$file" "$other" \
    "$RETORT" "$@" >out 2>err
  local got=$?
  [ $got = "$want" ] || fail "$*: exit code $got instead of $want"
}
other=$file
apart 0 evaluate --model mine --data whole/data
other=other/exported/model.safetensors
refused() {
  apart 65 "$@"
  [ "$(grep -c 'changed while the ranks read' err)" = 1 ] || fail "$*: not one line"
  [ ! -f written ] && [ ! -e written/manifest.json ] || fail "$*: a result of two models"
  rm -rf written
}
refused evaluate --model mine --data whole/data
refused evaluate --model mine --data whole/data --predictions written
refused evaluate --model mine --data whole/data --out written
refused teach --model mine --data whole/data --top-k 2 --out written
refused smooth --model mine --top-m 3 --negatives softmax --out written
refused train --data whole/data --model mlp --hidden 24 --init $file --epochs 1 --batch 16 \
  --micro-shards 4 --out written
