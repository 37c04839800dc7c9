#!/usr/bin/env bash
# What train, teach, distill and evaluate refuse: one line that says what, where and what to do, the
# right exit code, and no manifest under the output's name.
. "$(dirname "$0")/strict.sh"
refuse_stage() {  # CODE TEXT STAGE OPTIONS...
  refuse "${@:1:2}" retort "${@:3}" --out refused
}

quietly pack --from glyphs --characters 20 --out data
quietly pack --from glyphs --characters 30 --out other
train=(--model mlp --hidden 16 --batch 64 --steps 4 --learning-rate 0.01)
quietly train --data data "${train[@]}" --out teacher
quietly train --data other "${train[@]}" --out stranger
quietly teach --data data --model teacher --top-k 5 --out logits
quietly teach --data data --model teacher --top-k 5 --augment-shift 0.1 --passes 2 --out moved

# train
refuse_stage 64 "did you mean resnet20" train --data data --model resnet21
refuse_stage 64 "did you mean --learning-rate" train --data data --model mlp --learing-rate 1
refuse_stage 64 "batch" train --data data --model mlp --batch many
refuse_stage 64 "power of two" train --data data --model mlp --micro-shards 6
refuse_stage 64 "--validation" train --data data --model mlp --patience 2
refuse_stage 64 "'momentum' belongs to optimiser sgd, but optimiser is adamw" train --data data \
  --model mlp --optimiser adamw --momentum 0.8
refuse_stage 64 "'beta1' belongs to optimiser adamw" train --data data --model mlp --beta1 0.8
refuse_stage 64 "'gamma' belongs to schedule step" train --data data --model mlp --gamma 0.5
refuse_stage 64 "unknown option --channels" train --data data --model mlp --channels 8
refuse_stage 65 "manifest.json is missing" train --data nowhere --model mlp
refuse_stage 65 "no split" train --data data --split nowhere --model mlp
refuse_stage 65 "--init" train --data data --model mlp --hidden 16 --init stranger
refuse_stage 65 "on rank" train --data data --model mlp --batch 64 --steps 30 --learning-rate 1e25
grep -qE "step [0-9]+ on rank [0-9]+, samples [0-9]+" err || fail "a loss that is not finite names step, rank, samples"

# teach
refuse_stage 64 "top-k" teach --data data --model teacher --top-k 21
refuse_stage 65 "30 classes" teach --data data --model stranger --top-k 5

# distill
student=(--data data --model mlp --hidden 8 --batch 64 --steps 2)
refuse_stage 64 "(0.5, 1)" distill "${student[@]}" --logits logits --alpha 0.5
refuse_stage 64 "1, 2, 3, 4" distill "${student[@]}" --logits logits --temperature 2.5
refuse_stage 65 "another data set" distill "${student[@]}" --split validation --logits logits
refuse_stage 65 "20 classes" distill --data other --model mlp --logits logits
refuse_stage 65 "augmentation" distill "${student[@]}" --logits moved
refuse_stage 65 "augmentation" distill "${student[@]}" --augment-flip --logits logits
refuse_stage 65 "manifest.json is missing" distill "${student[@]}" --logits nowhere
quietly distill "${student[@]}" --augment-shift 0.1 --logits moved --out fits
quietly distill "${student[@]}" --logits logits --temperature 2.5 \
  --unlisted-temperature interpolate --out between

# evaluate
refuse_stage 65 "30 classes" evaluate --data data --model stranger
refuse_stage 65 "no split" evaluate --data data --split nowhere --model teacher

# A finished folder is kept: the same command has nothing to do, another one is refused.
cp -r teacher before
quietly train --data data "${train[@]}" --out teacher
diff -r before teacher || fail "a finished folder was changed"
got=0
"$RETORT" train --data data "${train[@]}" --seed 7 --out teacher >out 2>err || got=$?
[ "$got" = 64 ] || fail "another recipe on a finished folder: exit code $got"
grep -qF "other options or inputs" err || fail "another recipe on a finished folder"
diff -r before teacher || fail "a refused command changed the folder"

# Two starts on one folder: the second is refused, the first is not disturbed.
"$RETORT" train --data data --model mlp --hidden 64 --batch 64 --steps 20000 --evaluate-every 20000 --out live \
  --log-level error >/dev/null 2>&1 &
first=$!
for _ in $(seq 100); do
  if [ -e live/claims ]; then break; fi
  sleep 0.1
done
got=0
"$RETORT" train --data data --model mlp --hidden 64 --batch 64 --steps 20000 --evaluate-every 20000 --out live >out 2>err || got=$?
[ "$got" = 64 ] || fail "a second start on a live folder: exit code $got"
kill -TERM "$first"
got=0
wait "$first" || got=$?
[ "$got" = 75 ] || fail "TERM: exit code $got instead of 75"
echo ok
