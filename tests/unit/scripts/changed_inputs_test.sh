#!/usr/bin/env bash
# Models that other sections and programs read, changed: in a run's own section they are what its manifest
# names or are not used at all; elsewhere nothing is read that was not read when the start began.
. "$(dirname "$0")/tiny_plan.sh"
{
  sed -n '1,/checkpoint-every/p' tiny.ini
  cat <<'PLAN'

[exported]
stage = export
model = @teacher

[parts]
stage = reshard
model = @teacher
parts = 3

[labels]
stage = smooth
model = @parts
top-m = 3
negatives = softmax

[fine]
stage = train
data = @data
model = mlp
hidden = 24
init = @exported/model.safetensors
epochs = 1
batch = 16
micro-shards = 4

[score]
stage = evaluate
data = @data
model = @exported
PLAN
} >readers.ini
run 0 run readers.ini --out whole
whole=$(digest whole)
run 0 run readers.ini --out begun --only exported,parts

# A section's file with one bit of another value, or with the content of another run's.
run 0 run readers.ini --out other --set teacher.seed=5
for change in flip other; do
  for file in exported/model.safetensors exported/model.json parts/part-00002-of-00003.safetensors; do
    [ $change/$file = other/exported/model.json ] && continue  # it is the same
    from begun
    if [ $change = flip ]; then flip r/$file; else cp other/$file r/$file; fi
    run 65 resume r
    grep -q "r/$file: is not what .*manifest.json names" err || fail "$change $file: $(cat err)"
    run 65 check r
    says "r/$file"
    run 0 check r --repair
    run 0 resume r
    gives "$whole" "$change $file"
  done
done
# What has begun or ended with a file that is damaged since keeps its work: it is no other input.
made_again() { grep -E '(fine|labels|score): (run again|start)' out; }
from whole
flip r/exported/model.safetensors
run 0 resume r
! made_again || fail "a reader is made again for a damaged input"
run 0 check r --repair
run 0 resume r
! made_again || fail "a reader is made again once its input is mended"
gives "$whole" "an input damaged after its reader ended"
from begun
RETORT_FAULT_POINT='*@fine/model:1:kill' "$RETORT" resume r >out 2>err
[ $? = 137 ] || fail "fine was not killed"
flip r/exported/model.safetensors
run 65 resume r
ls r/fine/checkpoints/gen-* >/dev/null || fail "generations are gone"
run 0 check r --repair
run 0 resume r
warns "resuming at step"
! made_again || fail "fine was set aside"
gives "$whole" "an input damaged after its reader began"

# A killed section whose record is lost.
rm -rf r
RETORT_FAULT_POINT='*@exported/manifest:1:kill' "$RETORT" run readers.ini --out r >out 2>err
[ $? = 137 ] || fail "exported was not killed"
rm -r r/.plan/sections
run 0 resume r
gives "$whole" "a killed section whose record is lost"

# Files that no manifest names are no part of a section.
from begun
cp other/exported/model.safetensors r/parts/
run 0 resume r
gives "$whole" "another run's file in a section"
says "r/parts/model.safetensors: is named by no manifest"
run 0 run readers.ini --out taught --only teacher
for place in teacher teacher/model; do
  from taught
  cp other/exported/model.{json,safetensors} r/$place/
  run 0 resume r
  gives "$whole" "another run's model in $place"
done
cp -r r strange
for place in exported parts; do
  from begun
  cp -r other/teacher/model r/$place/
  run 0 resume r
  gives "$whole" "another run's model folder in $place"
  says "r/$place/model: is named by no manifest"
done
run 65 run readers.ini --out r --set "fine.init=$work/strange/teacher/model/model.safetensors"
warns "is not named by"

from whole
flip r/exported/model.safetensors
ln -s r/exported link
ln -s r/exported/model.safetensors link.safetensors
for model in r/exported link; do
  run 65 evaluate --model $model --data r/data --out used
done
run 65 train --data r/data --model mlp --hidden 24 --init link.safetensors --epochs 1 --batch 16 --micro-shards 4 --out used

# A byte that goes bad on its way to the disk: the manifest names what was to be written.
for written in exported/model.safetensors:{1,3,6} exported/model.json:1 exported/model.py:1 \
  parts/part-00002:{1,2,4} parts/model.json:1 score/details:1; do
  rm -rf r
  RETORT_FAULT_POINT="atomic-write@$written:flip" "$RETORT" run readers.ini --out r >out 2>err
  code=$?
  [ $code = 0 ] || [ $code = 65 ] || fail "$written spoilt by the disk: exit code $code"
  run 65 check r
  run 0 check r --repair
  run 0 resume r
  gives "$whole" "$written spoilt by the disk"
done
# Out of the run it is the user's own, who may have trained on.
cp -r r/exported mine
flip mine/model.safetensors
run 0 evaluate --model mine --data r/data --out used
warns "trained on since, or damaged"
run 0 run readers.ini --out own --set "score.model=$work/mine" --only score
run 0 resume own
grep -q 'score: up to date' out || fail "score of a model that is as it was"
cp other/exported/model.safetensors mine/
run 0 resume own
grep -q 'score: run again' out || fail "a model was trained on, and score keeps its old result"

# changed PLACE FILE WITH WORDS...: a start held at PLACE, that reads FILE, which becomes WITH meanwhile.
changed() {
  local place=$1 file=$2 with=$3
  shift 3
  rm -rf out.d
  RETORT_FAULT_POINT="*@$place:hold" "$RETORT" "$@" --out out.d >out 2>err &
  local held=$!
  until_held $held "$*"
  cp "$file" kept
  cat "$with" >"$file"
  kill -CONT $held
  wait $held
  [ $? = 65 ] || fail "$*: changed while it was read"
  [ "$(grep -c 'error' err)" = 1 ] || fail "$*: not one line"
  grep -q "have changed since they were verified" err || fail "$*: $(cat err)"
  cat kept >"$file"
  run 0 "$@" --out out.d
}
cp whole/exported/model.safetensors one.safetensors
cp other/exported/model.safetensors two.safetensors
cp -r whole/parts several
part=several/part-00002-of-00003.safetensors
changed 'out.d/claims:1' one.safetensors two.safetensors \
  smooth --model one.safetensors --data whole/data --top-m 3 --negatives softmax --tile 1
changed 'out.d/claims:1' $part other/parts/part-00002-of-00003.safetensors \
  smooth --model several --top-m 3 --negatives softmax --tile 1
for head in whole sharded; do
  changed 'out.d/claims:1' one.safetensors two.safetensors train --data whole/data --model mlp --hidden 24 \
    --head $head --init one.safetensors --epochs 1 --batch 16 --micro-shards 4
done
changed 'out.d/part:1' $part other/parts/part-00002-of-00003.safetensors reshard --model several --parts 2

# A start that was killed before its manifest: the same one goes on, no other takes its files for its own.
RETORT_FAULT_POINT='*@parted/manifest:1:kill' "$RETORT" reshard --model whole/exported --parts 1 --out parted \
  >out 2>err
[ $? = 137 ] || fail "reshard was not killed"
run 0 check parted
says "unfinished"
run 64 reshard --model other/exported --parts 4 --out parted
warns "other options or inputs"
run 0 reshard --model whole/exported --parts 1 --out parted
[ ! -e parted/begun ] || fail "the mark of a start is left"
teach=(teach --data whole/data --model whole/teacher --top-k 2 --shard-samples 4 --out taking)
RETORT_FAULT_POINT='*@taking/pass-00/shard:9:kill' "$RETORT" "${teach[@]}" >out 2>err
status=$?
[ $status = 137 ] || fail "teach was not killed but ended with $status"
run 64 evaluate --model whole/teacher --data whole/data --out taking
warns "another stage has begun"
run 0 "${teach[@]}"
warns "complete already"

# Mended, a folder of a command alone is that command's, and no other one's.
make() { run "$1" "${command[@]}" --out alone; }
for file in model.safetensors manifest.json; do
  for words in "export --model whole/teacher" "reshard --model whole/exported --parts 1"; do
    read -r -a command <<<"$words"
    rm -rf alone
    make 0
    before=$(digest alone)
    flip alone/$file
    run 0 check alone --repair
    [ $file = manifest.json ] || {
      run 64 "${command[0]}" --model other/exported --out alone
      run 64 evaluate --model whole/teacher --data whole/data --out alone
    }
    make 0
    [ "$(digest alone)" = "$before" ] || fail "${command[*]}: another result once it was mended"
    run 0 check alone
  done
done
# The same weights for another scale of pixels are another model.
cp -r whole/exported renamed
rm renamed/manifest.json
python3 - <<'PYTHON'
import json
model = json.load(open("renamed/model.json"))
model["scale"]["mean"] = [x + 0.25 for x in model["scale"]["mean"]]
json.dump(model, open("renamed/model.json", "w"))
PYTHON
rm -rf alone
run 0 reshard --model whole/exported --parts 2 --out alone
run 64 reshard --model renamed --parts 2 --out alone
