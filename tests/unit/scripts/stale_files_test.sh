#!/usr/bin/env bash
# Files that are right in themselves and not those that belong there: earlier states of the same run, other
# sealed files, data and results of another run beside what would give them away. None is believed.
. "$(dirname "$0")/tiny_plan.sh"
run 0 run tiny.ini --out whole
run 0 run tiny.ini --out turned --set teacher.seed=5
cp -r turned five
run 0 run tiny.ini --out turned
whole=$(digest whole)
five=$(digest five)
[ "$(digest turned)" = "$whole" ] || fail "turned back, another result"

# believes_its_own KIND OTHER FROM WHY: copies of FROM, a kept file or its copy replaced by that of the folder
# OTHER, so that there is WHY to tell; the one of the two that is its own is used, with and without repair.
believes_its_own() {
  local kind=$1 other=$2 own=$3 why=$4 file place repair
  for file in .plan/settings.json .plan/sections/teacher.json; do
    for place in $file "$(dirname $file)/.copies/$(basename $file)"; do
      for repair in no yes; do
        $own
        cp "$other/$file" "r/$place"
        run 65 check r
        says "fault  r/$place: $why than"
        if [ $repair = yes ]; then
          run 0 check r --repair
          says "written again from its copy"
          run 0 check r
        fi
        run 0 resume r
        ! grep -q 'run again' out || fail "$kind $place, repair $repair: something was made again"
        [ $repair = no ] || silent_about "its copy"
        [ "$(digest r)" = "$whole" ] || fail "$kind $place, repair $repair: another result"
      done
    done
  done
}
# What keeps a run, as it was before: the newer one of the two counts.
a_copy() { from turned; }
believes_its_own "an older" five a_copy "is of an older state"

# Of a copy of the folder that went on by itself: younger, of the same run, and not this folder's. Files that
# were copied have another folder's number, so here they are written anew.
cp -r turned fork
run 0 run tiny.ini --out fork --set teacher.seed=6
written_here() {
  from turned
  run 0 run tiny.ini --out r --set teacher.seed=7
  run 0 run tiny.ini --out r
}
believes_its_own "a fork's" fork written_here "is of another folder"

# A finished data folder of other files of the same names and sizes, without what tells them apart.
cp -r pictures others
for file in pictures/*/*.pgm; do tr 3 4 <"$file" >"others/${file#pictures/}"; done
sed 's/^source = .*/source = others/' tiny.ini >others.ini
run 0 run others.ini --out others-run
RETORT_FAULT_POINT='atomic-rename@data/manifest.json:1:kill' "$RETORT" run tiny.ini --out packed >out 2>err
[ -d packed/data/members ] || fail "not killed while packing"
for damage in gone flip sealed repaired; do
  from packed
  rm -r r/data && cp -r others-run/data r/
  case $damage in
    gone) rm r/data/source.json ;;
    flip) flip r/data/source.json ;;
    sealed) cp whole/score/results.json r/data/source.json ;;
    repaired)
      flip r/data/source.json
      "$RETORT" check r --repair >out 2>err ;;
  esac
  if [ $damage != repaired ]; then
    run 65 check r
    says "r/data/source.json"
  fi
  run 0 resume r
  gives "$whole" "data of others, source.json $damage"
done
# Its own, not on record yet, with the results of the others.
RETORT_FAULT_POINT='atomic-rename@.plan/sections/data.json:2:kill' "$RETORT" run tiny.ini --out unrecorded >out 2>err
[ -e unrecorded/data/manifest.json ] || fail "not killed after the manifest of the data"
from unrecorded
cp others-run/data/results.json r/data/
run 65 check r
says "r/data/results.json"
run 65 resume r
warns "is of another result than its folder's"
run 0 check r --repair
run 0 resume r
gives "$whole" "results of other data"
cmp r/data/results.json whole/data/results.json || fail "results of other data are kept"
# Its own, and source.json replaced while it was packed; then one bad shard of a whole one.
from packed
cp whole/score/results.json r/data/source.json
run 65 check r
run 0 resume r
gives "$whole" "another sealed file as source.json"
from whole
shard=$(cd r/data && ls -- */*.h5 | head -n 1)
flip "r/data/$shard"
run 0 check r --repair
run 0 resume r
warns "data: 2 members are there already"
gives "$whole" "one bad shard"

# Results of another run.
RETORT_FAULT_POINT='atomic-rename@.plan/sections/teacher.json:2:kill' "$RETORT" run tiny.ini --out late >out 2>err
[ -e late/teacher/manifest.json ] || fail "not killed after the manifest"
for state in late whole; do
  from $state
  cp five/teacher/results.json r/teacher/
  run 65 check r
  says "r/teacher/results.json"
  "$RETORT" check r --repair >out 2>err
  run 0 resume r
  gives "$whole" "another run's results, $state"
  [ "$(grep -o '"train_loss": [0-9.]*' r/teacher/results.json)" = \
    "$(grep -o '"train_loss": [0-9.]*' whole/teacher/results.json)" ] || fail "another run's numbers, $state"
done
from late
cp five/teacher/results.json r/teacher/
run 65 resume r
warns "is of another result than its folder's"

from late
rm r/teacher/results.json
run 65 resume r
warns "results.json is missing"
run 0 check r --repair
run 0 resume r
gives "$whole" "results that are gone"
# A model's folder that is gone, and the word of a pack that failed, damaged.
from whole
rm -r r/student/model
run 65 check r
run 0 check r --repair
run 0 resume r
gives "$whole" "a model that is gone"
rm -rf r
RETORT_FAULT_POINT=atomic-write@data/train:1:ENOSPC "$RETORT" run tiny.ini --out r >out 2>err
[ -e r/data/failed.json ] || fail "the pack did not fail"
flip r/data/failed.json
run 0 resume r
gives "$whole" "a damaged failed.json"

# A generation of a start that never was, and what no parser of JSON may go down for.
killed begun
from begun
newest=$(ls -d r/teacher/checkpoints/gen-* | tail -n 1)
cp -r "$newest" r/teacher/checkpoints/gen-0000000099-e4294967295
run 0 resume r
[ "$(digest r)" = "$whole" ] || fail "a generation of start 4294967295: another result"
from whole
python3 -c "n = 200000; print('{\"checksum\":\"0\",\"a\":' + '[' * n + ']' * n + '}')" >r/teacher/manifest.json
run 65 check r
says "levels of nesting"
run 0 resume r
gives "$whole" "a deeply nested manifest"

# Claims of the plan and of a section that ran alone.
from whole
run 0 resume r --section score
for claim in r/.plan/claims/epoch-* r/.plan/starts/score/claims/epoch-*; do
  [ -e "$claim" ] || fail "no $claim"
  flip "$claim"
  run 65 check r
  says "fault  $claim"
  run 0 check r --repair
  run 0 check r
done
run 0 resume r
gives "$whole" "damaged claims of the plan"

# Another of the run's own records, younger than what it stands for: its copy is used, and never overwritten.
for swap in settings.json:score.json sections/teacher.json:student.json; do
  from whole
  cp "r/.plan/sections/${swap#*:}" "r/.plan/${swap%:*}"
  run 65 check r
  says "fault  r/.plan/${swap%:*}: is another file's content"
  ! grep -q 'fault.*[.]copies' out || fail "$swap: the good copy is called wrong"
  run 0 resume r
  [ "$(digest r)" = "$whole" ] || fail "$swap: another result"
  from whole
  cp "r/.plan/sections/${swap#*:}" "r/.plan/${swap%:*}"
  run 0 check r --repair
  says "written again from its copy"
  run 0 resume r
  ! grep -q 'run again' out || fail "$swap: something was made again"
  gives "$whole" "$swap repaired"
done

# What no program leaves behind: a link to scratch space that was cleared, a file in a folder's place.
from whole
rm -r r/student
ln -s nowhere r/student
run 0 resume r
says "its folder is a link that leads nowhere"
gives "$whole" "a link that leads nowhere"
for name in sections claims; do
  from whole
  rm -r "r/.plan/$name"
  echo x >"r/.plan/$name"
  run 65 check r
  says "fault  r/.plan/$name: is a file where a folder should be"
  run 0 check r --repair
  run 0 resume r
  gives "$whole" "$name as a file"
done
