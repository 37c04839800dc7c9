#!/usr/bin/env bash
# What ranks hold of a divided head and in smooth is what docs/scale.md says, within 10 %, on 1 and 3 ranks.
set -euo pipefail
cd "$RETORT_SOURCE"
RETORT_PROGRAM=$RETORT
unset RETORT RETORT_SOURCE RETORT_GOLDEN RETORT_PEERS
scripts/memory --ranks 1,3 --top-m 100 --retort "$RETORT_PROGRAM"
