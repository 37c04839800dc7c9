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
retort train --data data --model mlp --hidden 4 --batch 99999 --steps 1 --learning-rate 0.1 --out all 2>err >/dev/null ||
  fail "a batch above the samples"
grep -q 'warning: --batch 99999 is more than the ' err || fail "no warning of a batch above the samples"
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
refuse_stage 64 "--data nowhere: there is no such file or folder" train --data nowhere --model mlp
mkdir unfinished
refuse_stage 65 "manifest.json is missing" train --data unfinished --model mlp
refuse_stage 64 "--init nowhere: there is no such file or folder" train --data data --model mlp --init nowhere
refuse_stage 64 "no split" train --data data --split nowhere --model mlp
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
refuse_stage 64 "--logits nowhere: there is no such file or folder" distill "${student[@]}" --logits nowhere
refuse_stage 64 "--model no.pt: there is no such file or folder" teach --data data --model no.pt
refuse_stage 64 "--data nowhere: there is no such file or folder" evaluate --data nowhere --model teacher
refuse_stage 64 "--model nowhere: there is no such file or folder" evaluate --data data --model nowhere
refuse_stage 64 "--class-map no.tsv: there is no such file or folder" evaluate --data data \
  --model teacher --class-map no.tsv
refuse 64 "does not exist" retort inspect nowhere
refuse 64 "does not exist" retort check nowhere
refuse 64 "no such folder" retort resume nowhere
refuse 64 "there is no plan" retort status nowhere
quietly distill "${student[@]}" --augment-shift 0.1 --logits moved --out fits
quietly distill "${student[@]}" --logits logits --temperature 2.5 \
  --unlisted-temperature interpolate --out between

# Draws and unlabelled samples
quietly pack --from glyphs --characters 20 --seed 9 --out more
quietly train --data data "${train[@]}" --seed 2 --out rival
quietly teach --data data --model teacher --sample 8 --temperatures 1,2 --out draws
quietly teach --data data --model teacher --top-k 5 --unlabelled more --top-h 2 --out both
quietly teach --model teacher --unlabelled more --out alone
quietly teach --model rival --unlabelled more --out rivals
quietly teach --model stranger --unlabelled more --out strangers
refuse_stage 64 "knows only 20 classes" teach --model teacher --unlabelled more --top-h 21
refuse_stage 64 "--data is required" teach --model teacher
refuse_stage 64 "at most 65535" teach --data data --model teacher --sample 70000
refuse_stage 64 "leave one out" teach --data data --model teacher --sample 5 --top-k 5
refuse_stage 64 "needs --unlabelled" teach --data data --model teacher --top-h 2
refuse_stage 64 "--class-map" teach --model teacher --unlabelled more --class-map nowhere
refuse_stage 64 "capture with teach --sample" distill "${student[@]}" --logits logits --tail sampled
refuse_stage 64 "use --tail sampled" distill "${student[@]}" --logits draws
refuse_stage 64 "log-sum-exp at 1, 2" distill "${student[@]}" --logits draws --tail sampled \
  --temperature 3
refuse_stage 64 "draws have none" distill "${student[@]}" --logits draws --tail sampled \
  --unlisted-temperature interpolate
quietly distill "${student[@]}" --logits draws --tail sampled --temperature 3 \
  --sampled-weights self-normalised --out self
mixed=("${student[@]}" --logits both --unlabelled more)
refuse_stage 64 "--beta 0.8: must be in [0, alpha], and alpha is 0.75" distill "${mixed[@]}" --beta 0.8
refuse_stage 64 "--beta -0.1" distill "${mixed[@]}" --beta=-0.1
refuse_stage 64 "--beta: needs --unlabelled" distill "${student[@]}" --logits both --beta 0.2
refuse_stage 64 "--sampled-weights: needs" distill "${mixed[@]}" --sampled-weights unbiased
refuse_stage 65 "no answers for unlabelled samples" distill "${mixed[@]}" --unlabelled-logits logits
refuse_stage 65 "unlabelled samples alone" distill "${student[@]}" --logits alone
refuse_stage 65 "of another capture, with another teacher" distill "${mixed[@]}" --unlabelled-logits rivals
refuse_stage 65 "over 30 classes" distill "${mixed[@]}" --unlabelled-logits strangers
refuse_stage 65 "another data set" distill "${student[@]}" --logits both --unlabelled other
refuse_stage 65 "augmentation" distill "${mixed[@]}" --augment-flip
quietly distill "${mixed[@]}" --unlabelled-logits alone --beta 0 --out mixed
# Shards of two captures in one folder: every row is whole, but they are not what was sealed.
quietly teach --data data --model rival --top-k 5 --out rivalry
cp -r logits two
cp rivalry/pass-00/shard-000000.h5 two/pass-00/shard-000000.h5
refuse_stage 65 "belongs to another capture" distill "${student[@]}" --logits two
# What a model is judged on must not be what it learnt from: one line says so.
"$RETORT" train --data data --split train --validation train "${train[@]}" --out seen >out 2>err ||
  fail "a validation split that is the training split"
grep -q "samples of split train are also in split train" err || fail "no warning of overlap"

# evaluate
refuse_stage 65 "30 classes" evaluate --data data --model stranger
refuse_stage 64 "no split" evaluate --data data --split nowhere --model teacher

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
# A model that no memory holds: one line, not LibTorch's stack.
got=0
"$RETORT" train --data data --model convnet --channels 60000,60000 --strides 2,2 --steps 1 \
  --out huge >out 2>err || got=$?
[ "$got" = 70 ] || fail "a model larger than memory: exit code $got"
[ "$(wc -l <err)" = 1 ] && grep -q 'error: out of memory: [0-9]* bytes at once; use a smaller model' err ||
  fail "a model larger than memory: $(cat err)"
echo ok
