#!/usr/bin/env bash
# One result: a plan with BatchNorm, dropout, augmentation, a weight average, a partial last batch
# and a batch divisible by neither 3 nor 4, on 1, 2, 3 and 4 ranks with 1 and 2 threads: the same
# digests of weights, optimiser state and logits, and the same bytes of every shard.
set -euo pipefail
exec "$(dirname -- "$RETORT")/retort-fault" --fault world-size --count 8 --json
