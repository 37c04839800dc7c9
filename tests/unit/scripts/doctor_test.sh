#!/usr/bin/env bash
# doctor tries this machine for real: two ranks talk, a file is written.
. "$RETORT_SOURCE/tests/unit/scripts/start.sh"

ends 0 "$RETORT" doctor --out "$work/not-yet-there"
for part in processor cores memory LibTorch MPI HDF5 disk fsync "shared memory" "open files" stack \
  GPU Slurm; do
  out_has " $part "
done
out_has "us a barrier"
[ ! -e "$work/not-yet-there" ] || fail "doctor made the folder"
ends 0 "$RETORT" doctor --json
python3 - out.txt <<'PYTHON' || fail "the JSON line"
import json, sys
lines = open(sys.argv[1]).read().splitlines()
assert len(lines) == 1, lines
report = json.loads(lines[0])
assert report["verdict"] in ("ok", "warning"), report
assert {c["name"] for c in report["checks"]} >= {"MPI", "HDF5", "disk", "fsync"}, report
assert all(c["advice"] for c in report["checks"] if c["verdict"] != "ok"), report
PYTHON
# /proc refuses new files to everybody.
ends 65 "$RETORT" doctor --out /proc
line_has "this machine is not fit"
out_has "problem"
# Without mpirun one process still works.
mkdir empty
ends 0 env PATH="$work/empty" "$RETORT" doctor
out_has "no mpirun on PATH"
ends 64 env PATH="$work/empty" "$RETORT" -n 2 ping
line_has "there is no mpirun on PATH"
finish
