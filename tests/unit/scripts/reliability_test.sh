#!/usr/bin/env bash
# docs/reliability.md says what its ledger says; a round of scripts/soak is added to a ledger as it went,
# with a seed of its own.
set -euo pipefail
cd "$RETORT_SOURCE"
scripts/soak --page --check
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo '{"fault":"truncate","seed":7}' >"$work/ledger.jsonl"
# Over before its time is: one round.
timeout 200 scripts/soak 0.0001 --fault truncate --count 1 --ledger "$work/ledger.jsonl"
python3 - "$work/ledger.jsonl" <<'PYTHON'
import json, sys
before, entry = [json.loads(line) for line in open(sys.argv[1])]
assert entry["fault"] == "truncate" and entry["count"] == 1 and entry["code"] == 0, entry
assert entry["identical"] == 1 and entry["commit"] and entry["machine"], entry
assert entry["seed"] == 8
PYTHON
