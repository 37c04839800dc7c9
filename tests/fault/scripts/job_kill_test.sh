#!/usr/bin/env bash
# 30 jobs killed at random moments, half of them inside capture, checkpoint or commit, and resumed
# on another number of ranks: always the undisturbed result.
set -euo pipefail
exec "$(dirname -- "$RETORT")/retort-fault" --fault job-kill --count "${RETORT_KILLS:-30}" --seed 1 --json
