#!/usr/bin/env bash
# One step of each kind of image model (max pooling, bottlenecks, PReLU, attention, dropout and
# stochastic depth in them) on 1, 2 and 4 ranks: the same weights, statistics and logits.
. "$RETORT_SOURCE/tests/unit/scripts/strict.sh"
quietly pack --from glyphs --characters 12 --size 32 --out data
check() {  # architecture, options...
  local model=$1 ranks digest first=
  for ranks in 1 2 4; do
    rm -rf run logits
    quietly -n $ranks train --data data --model "$@" --steps 1 --batch 30 --micro-shards 4 \
      --seed 2 --out run
    quietly -n $ranks teach --data data --split test --model run --top-k 3 --out logits
    digest="$(retort inspect --digest run) $(retort inspect --digest logits)"
    : "${first:=$digest}"
    [ "$digest" = "$first" ] || fail "$model: other bits on $ranks ranks"
  done
  echo "$model: one result on 1, 2 and 4 ranks, ${first%% *}"
}
check resnet18 --width 8
check resnet50 --width 4 --stem small
check iresnet18 --width 8 --embedding 16 --dropout 0.2
check deit_tiny --patch 8 --width 24 --depth 3 --dropout 0.1 --drop-path 0.3 --optimiser adamw
