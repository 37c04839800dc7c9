#!/usr/bin/env bash
# The stop rules of training, by the program: the loss that changes less than a threshold within so
# many evaluations, and validation accuracy that reaches its value; on any number of ranks at the same
# step, since all decide on the same sums.
. "$RETORT_SOURCE/tests/unit/scripts/strict.sh"
quietly pack --from glyphs --characters 10 --out data
train=(train --data data --validation validation --model mlp --hidden 16 --batch 32 --micro-shards 4
  --steps 200 --evaluate-every 4)
# NAME RANKS OPTIONS...: the step at which training ended, and why.
ended() {
  local name=$1 ranks=$2
  shift 2
  mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -n "$ranks" \
    "$RETORT" "${train[@]}" "$@" --out "$name" >out 2>err || fail "$name"
  grep -oE "stopping at step [0-9]+: .*" out err | sed 's/^[a-z]*://' | head -1
}

# Without learning the loss spans nothing: the window is full at its last evaluation, step 4 * 5.
loss=$(ended flat 1 --learning-rate 1e-30 --stop-window 5 --stop-change 10)
[[ $loss == "stopping at step 20: the training loss spans"*"over 5 evaluations" ]] || fail "loss: $loss"
[[ $(ended flat-2 2 --learning-rate 1e-30 --stop-window 5 --stop-change 10) == "$loss" ]] ||
  fail "two ranks stop elsewhere"
# A threshold that is never undershot: all steps are taken.
[ -z "$(ended on 1 --learning-rate 0.01 --stop-window 3 --stop-change 0)" ] || fail "stopped at 0"
grep -qE '"steps": ?200' on/results.json || fail "not all steps"

accuracy=$(ended sharp 1 --learning-rate 0.02 --stop-accuracy 0.3)
[[ $accuracy == *"validation top-1 0."*" reached 0.3000" ]] || fail "accuracy: $accuracy"
step=${accuracy#stopping at step }
step=${step%%:*}
[ "$step" -lt 200 ] && [ $((step % 4)) = 0 ] || fail "stopped at step $step"
[[ $(ended sharp-3 3 --learning-rate 0.02 --stop-accuracy 0.3) == "$accuracy" ]] ||
  fail "three ranks stop elsewhere"
python3 - "$step" <<'PYTHON'
import json, sys
records = [json.loads(line) for line in open("sharp/metrics.jsonl")]
assert records[-1]["step"] == int(sys.argv[1]) and records[-1]["validation_top1"] >= 0.3
assert all(r["validation_top1"] < 0.3 for r in records[:-1]), records
PYTHON
[ "$(retort inspect --digest sharp)" = "$(retort inspect --digest sharp-3)" ] || fail "another model"
echo ok
