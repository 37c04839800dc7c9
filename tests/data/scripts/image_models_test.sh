#!/usr/bin/env bash
# The image models against torchvision, timm and InsightFace's IResNet (written out in
# image_models.py): weights trained here give the same logits there, random weights from there the
# same logits here, to 1e-5 of the largest logit.
. "$RETORT_SOURCE/tests/unit/scripts/strict.sh"
python=$("$RETORT_SOURCE/scripts/peers") || { code=$?; echo "$python"; exit $code; }
python_of() { sed -n '/^```python$/,/^```$/{/^```/d;p}' "$RETORT_SOURCE/docs/$1.md"; }
python_of packed_dataset_format >packed_dataset_format.py
python_of logit_shard_format >logit_shard_format.py
for page in manifest_format tensor_format model_format; do python_of $page; done >model_format.py
peer() { PYTHONPATH=$work "$python" -W ignore "$RETORT_SOURCE/tests/data/scripts/image_models.py" "$@"; }

peer pictures pictures
for side in 32 64 112 224; do
  quietly pack --from folder --source pictures --size $side --split train=rest,test=1 --out data$side
done

compare() {  # architecture, side, options...
  local model=$1 side=$2 name="$1 at $2${3:+ }${*:3}" folder
  shift 2
  rm -rf ours theirs logits-*
  quietly train --data data$side --model "$model" "$@" --epochs 1 --batch 6 --micro-shards 1 \
    --learning-rate 0.01 --seed 3 --out ours
  peer random "$name" ours/model theirs
  for folder in ours/model theirs; do
    quietly teach --data data$side --model $folder --top-k 6 --ids u32 --stored-precision fp32 \
      --batch 6 --out "logits-${folder%/*}"
  done
  peer logits "$name" data$side ours/model logits-ours theirs logits-theirs
}
compare resnet18 32 --stem small
compare resnet50 64
compare iresnet18 112
compare iresnet18 64
compare deit_tiny 224
compare deit_tiny 32 --patch 4
