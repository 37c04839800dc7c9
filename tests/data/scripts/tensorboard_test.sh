#!/usr/bin/env bash
# Event files as TensorBoard's own Python package reads them.
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
