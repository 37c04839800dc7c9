#!/usr/bin/env bash
# Event files as TensorBoard's own Python package reads them: of the writer, and of a training that
# was stopped and went on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unit=$(dirname "$RETORT")/unit_io
RETORT_EVENT_FOLDER=$folder/run "$unit" --gtest_filter=EventFileTest.LeavesAFileForTensorBoard

python=$("$RETORT_SOURCE/scripts/peers") || { code=$?; echo "$python"; exit $code; }
"$python" - "$folder/run" <<'PYTHON'
import struct, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
events.Reload()
assert sorted(events.Tags()["scalars"]) == ["big step", "loss/train", "top1/развитие"], events.Tags()
loss = events.Scalars("loss/train")
fp32 = lambda v: struct.unpack("f", struct.pack("f", v))[0]
assert [e.step for e in loss] == list(range(200))
assert [e.value for e in loss] == [fp32(1 / (i + 1)) for i in range(200)]
assert all(a.wall_time <= b.wall_time for a, b in zip(loss, loss[1:]))
assert [(e.step, e.value) for e in events.Scalars("top1/развитие")] == [
    (s, fp32(s / 200)) for s in (0, 50, 100, 150)]
assert [(e.step, e.value) for e in events.Scalars("big step")] == [(1 << 40, fp32(-1e30))]
assert events.file_version == 2.0, events.file_version
print("tensorboard read", sum(len(events.Scalars(t)) for t in events.Tags()["scalars"]), "points")
PYTHON

# A training, killed after its first checkpoint and resumed: two event files, one curve.
cd "$folder"
for class in 0 1; do
  mkdir -p pictures/$class
  for number in 0 1 2 3 4 5 6 7; do
    awk -v c=$class -v n=$number 'BEGIN {
      printf "P2\n4 4\n255\n"; for (i = 0; i < 16; ++i) printf "%d ", (i % 2 == c) * 100 + (i * n) % 50; printf "\n" }' \
      >pictures/$class/$number.pgm
  done
done
"$RETORT" pack --from folder --source pictures --split train=rest,test=2 --out data --log-level error >/dev/null
train=(train --data data --validation test --model mlp --hidden 8 --batch 8 --micro-shards 2 --steps 12
  --evaluate-every 2 --checkpoint-every 4 --out model --log-level error)
code=0
RETORT_FAULT_POINT="checkpoint/*:12:kill" "$RETORT" "${train[@]}" >/dev/null 2>&1 || code=$?
[ $code -ne 0 ] || { echo "the training was not killed"; exit 1; }
ls model/checkpoints/*/manifest.json >/dev/null || { echo "it was killed before any checkpoint"; exit 1; }
"$RETORT" "${train[@]}" >/dev/null
"$python" - model <<'PYTHON'
import json, pathlib, struct, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

folder = pathlib.Path(sys.argv[1])
files = sorted(folder.glob("events.out.tfevents.*"))
assert len(files) == 2, files
events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
events.Reload()
fp32 = lambda v: struct.unpack("f", struct.pack("f", v))[0]
lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
assert [line["step"] for line in lines] == [2, 4, 6, 8, 10, 12], lines
tags = set(events.Tags()["scalars"])
assert {name for name in lines[0] if name != "step"} <= tags, tags
for name in ("train_loss", "train_top1", "validation_loss", "validation_top1", "learning_rate", "gradient_norm"):
    newest = {e.step: e.value for e in events.Scalars(name)}  # of a step computed twice: the later
    assert newest == {line["step"]: fp32(line[name]) for line in lines}, name
phases = {tag for tag in tags if tag.startswith("time/")}
assert {"time/wall", "time/forward", "time/backward", "time/loss", "time/optimise", "time/other"} <= phases, phases
for event in events.Scalars("time/wall"):
    parts = sum(e.value for tag in phases - {"time/wall"} for e in events.Scalars(tag)
                if e.step == event.step and abs(e.wall_time - event.wall_time) < 1e-3)
    assert 0 < event.value < 60 and abs(parts - event.value) < 0.02 * event.value + 1e-5, (event, parts)
print("tensorboard read a resumed training:", len(tags), "curves")
PYTHON
