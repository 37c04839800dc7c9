#!/usr/bin/env bash
# What ranks send each other is what docs/scale.md says, within 10 %, counted on 2 and 3 ranks; and its
# tables are those of the formulas.
set -euo pipefail
cd "$RETORT_SOURCE"
RETORT_PROGRAM=$RETORT
unset RETORT RETORT_SOURCE RETORT_GOLDEN RETORT_PEERS
scripts/traffic --page --check
scripts/traffic --ranks 2,3 --retort "$RETORT_PROGRAM"
