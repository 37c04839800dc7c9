#!/usr/bin/env bash
# Generations written behind the steps: no result depends on it, on any number of ranks; the best
# evaluation's stays; a disk that is full behind a step ends the run with the ones before intact; what
# they cost is told.
. "$RETORT_SOURCE/tests/unit/scripts/tiny_plan.sh"
run 0 pack --from folder --source pictures --out data --split train=rest,test=2
train=(train --data data --validation test --model mlp --hidden 64 --batch 16 --micro-shards 4
  --steps 60 --evaluate-every 7 --learning-rate 0.5 --threads 1)
model() { sha256sum "$1/model/model.h5" | cut -d' ' -f1; }
costs() { # FOLDER EXPRESSION over c, the costs
  python3 -c 'import json, sys
c = json.load(open(sys.argv[1] + "/results.json"))["checkpoints"]
sys.exit(0 if eval(sys.argv[2]) else f"costs of {sys.argv[1]}: {c}")' "$1" "$2" || fail "costs of $1"
}

run 0 "${train[@]}" --checkpoint-minutes 0 --out none
costs none 'c["generations"] == 1 and c["behind_seconds"] == 0'
run 0 "${train[@]}" --checkpoint-every 4 --checkpoint-write at-once --out once
costs once 'c["generations"] == 15 and c["behind_seconds"] == 0 and c["stall_seconds"] > 0'
for ranks in 1 2; do
  run 0 -n $ranks "${train[@]}" --checkpoint-every 4 --keep-best --out behind$ranks
  # 15 of every 4 steps, and those of evaluations that were the best so far.
  costs behind$ranks 'c["generations"] >= 16 and c["behind_seconds"] > 0 and c["bytes"] > 10000'
  for folder in once behind$ranks; do
    [ "$(model none)" = "$(model $folder)" ] || fail "$folder: another model"
  done
done

best=$(python3 -c 'import json
records = [json.loads(line) for line in open("behind2/metrics.jsonl")]
print(min(records, key=lambda record: record["validation_loss"])["step"])')
[ "$best" -lt 56 ] || fail "the best evaluation, at $best, shows nothing: take another learning rate"
[ -e "behind2/checkpoints/gen-$(printf %010d "$best")-e0001" ] || fail "step $best is not kept"
[ "$(ls behind2/checkpoints | wc -l)" = 3 ] || fail "kept: $(ls behind2/checkpoints)"

# The last generation damaged on its way to the disk: the model is never that of another step.
for folder in flipped flipped2; do
  RETORT_FAULT_POINT='checkpoint/atomic-write@checkpoints/gen-0000000060:1:flip' \
    run 0 -n $((1 + (${#folder} > 7))) "${train[@]}" --checkpoint-every 4 --out $folder
  warns 'set aside as gen-0000000060-e0001.bad, it is written once more'
  [ "$(model none)" = "$(model $folder)" ] || fail "$folder: another model"
  [ "$("$RETORT" inspect --digest $folder)" = "$("$RETORT" inspect --digest once)" ] || fail "$folder: another digest"
done

for point in checkpoint/checkpoint-part checkpoint/atomic-write checkpoint/checkpoint-manifest; do
  rm -rf full
  RETORT_FAULT_POINT=$point:7:ENOSPC run 74 "${train[@]}" --checkpoint-every 4 --out full
  warns "No space left"
  ls -d full/checkpoints/gen-* >/dev/null || fail "$point: no generation is left"
  run 0 "${train[@]}" --checkpoint-every 4 --out full
  warns "resuming at step"
  [ "$(model none)" = "$(model full)" ] || fail "$point: another model after the disk was full"
done
