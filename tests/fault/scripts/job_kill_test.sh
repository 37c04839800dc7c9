#!/usr/bin/env bash
# 20 jobs killed and resumed on another number of ranks: always the undisturbed result. At least 20
# SIGKILLs, a third of them inside capture, checkpoint and commit, where the killed process itself
# said that it was; each of the three, and a single rank of several, more than once. Many cases leave
# a checkpoint or shards at the kill, from which a later start went on: a start anew would end alike.
set -euo pipefail
cases=${RETORT_KILLS:-20}
result=$("$(dirname -- "$RETORT")/retort-fault" --fault job-kill --count "$cases" --seed 1 --json)
echo "$result"
python3 - "$cases" "$result" <<'PYTHON'
import json, sys
cases, result = int(sys.argv[1]), json.loads(sys.argv[2])
places, kills = result["kills_by_place"], result["kills"]
inside = [places["capture"], places["checkpoint"], places["commit"]]
demands = {
    "every result identical": result["identical"] == cases,
    f"at least {cases} kills": kills >= cases,
    "a fifth of them resumed": 5 * result["resumed"] >= cases,
    "none restarted": result["restarted"] == 0,
    "each kill has a place": sum(places.values()) == kills,
    "a third of them inside": 3 * sum(inside) >= kills,
    "each place hit twice": min(inside) >= 2,
    "single ranks hit twice": result["kills_single_rank"] >= 2,
}
missed = [demand for demand, met in demands.items() if not met]
sys.exit("missed: " + ", ".join(missed) if missed else 0)
PYTHON
