#!/usr/bin/env bash
# check --repair sets aside what is damaged, and the next run makes exactly that anew: the digest of
# every section is the undisturbed one, members that were right are not written again.
. "$(dirname "$0")/tiny_plan.sh"
run 0 run tiny.ini --out r
whole=$(digest r)
run 0 check r --repair
silent_about "aside"

inodes() { find r -path 'r/.*' -prune -o -name '*.h5' -printf '%i %p\n' | sort; }
newest=$(ls -d r/student/checkpoints/gen-* | tail -1)
kinds=(flip gone short)
repaired=0
for file in $(find r/logits r/data -name '*.h5' | sort | sed -n '1p;2p;$p') \
  r/teacher/model/model.h5 r/student/model/model.json "$newest/part-00000-000.h5" \
  r/teacher/results.json r/logits/results.json r/data/config.ini r/score/details.json; do
  damage=${kinds[repaired % 3]}
  case $damage in
    flip) flip "$file" ;;
    gone) rm "$file" ;;
    short) truncate -s -3 "$file" ;;
  esac
  inodes >before
  run 65 check r
  run 0 check r --repair
  says "aside"
  run 0 check r
  run 0 run tiny.ini --out r
  run 0 check r
  [ "$(digest r)" = "$whole" ] || fail "$file $damage: another result after the repair"
  inodes >after
  case $file in
    r/logits/*.h5 | r/data/*.h5) # the other shards are the same files as before
      changed=$(comm -13 before after | wc -l)
      [ "$changed" = 1 ] || fail "$file $damage: $changed files are new: $(comm -13 before after)"
      ;;
    r/logits/results.json | r/data/config.ini)
      cmp -s before after || fail "$file $damage: shards were written again"
      ;;
  esac
  repaired=$((repaired + 1))
done

# Damage in many places at once; and in what is not finished yet.
for file in $(find r -path 'r/.*' -prune -o -name '*.h5' -print); do flip "$file"; done
run 65 check r
run 0 check r --repair
run 0 run tiny.ini --out r
[ "$(digest r)" = "$whole" ] || fail "everything damaged: another result after the repair"

# A killed commit is no generation to go back to.
for generation in r/teacher/checkpoints/gen-*-e[0-9][0-9][0-9][0-9]; do flip "$generation/part-00000-000.h5"; done
mkdir r/teacher/checkpoints/gen-0000000999-e0001
touch r/teacher/checkpoints/gen-0000000999-e0001/part-00000-000.h5
rm r/teacher/model/model.h5
run 0 check r --repair
says "the training begins anew"
run 0 run tiny.ini --out r
[ "$(digest r)" = "$whole" ] || fail "a killed commit beside damage: another result after the repair"

# A start that found no generation right has set them aside and refused: there is a way on.
export RETORT_FAULT_POINT=checkpoint-manifest:4:kill
run 137 run tiny.ini --out k
unset RETORT_FAULT_POINT
for generation in k/teacher/checkpoints/gen-*-e[0-9][0-9][0-9][0-9]; do
  [ ! -e "$generation/manifest.json" ] || flip "$generation/part-00000-000.h5"
done
run 65 resume k
warns "none verifies"
warns "retort check k/teacher --repair"
run 65 resume k
run 65 check k
says "fault  k/teacher/checkpoints: no start can go on"
run 0 check k --repair
says "the training begins anew"
run 0 check k
run 0 resume k
[ "$(digest k)" = "$whole" ] || fail "all generations set aside: another result after the repair"

# The plan itself: a run goes on by the text that it was started with.
cp r/plan.ini plan.before
for damage in flip edit gone; do
  case $damage in
    flip) flip r/plan.ini ;;
    edit) sed -i 's/^epochs = .*/epochs = 1/' r/plan.ini ;;
    gone) rm r/plan.ini ;;
  esac
  run 0 resume r --dry-run
  warns "is not the plan that this run was started with"
  silent_about "epochs"
  run 65 check r
  says "fault  r/plan.ini"
  run 0 check r --repair
  cmp r/plan.ini plan.before || fail "$damage: the plan was not written as it was"
  run 0 check r
  run 0 resume r
  [ "$(digest r)" = "$whole" ] || fail "$damage of the plan: another result"
done

# A model of another run in the place of a section's: right in itself, and never used.
run 0 run tiny.ini --out another --set teacher.seed=5
for section in teacher student; do
  cp -r "r/$section/model" model.before
  rm -r "r/$section/model"
  cp -r "another/$section/model" "r/$section/model"
  [ $section = teacher ] && then=logits || then=score
  rm -r "r/$then"
  run 65 resume r
  warns "r/$section/model/manifest.json: is not of the model that"
  run 65 check r
  run 0 check r --repair
  run 0 resume r
  run 0 check r
  [ "$(digest r)" = "$whole" ] || fail "$section: another run's model was used"
  rm -r model.before
done

# A section without its manifest, or wholly gone; the record of a submission.
rm r/student/manifest.json
rm -r r/data
mkdir r/.slurm
echo '{"jubs": 1}' >r/.slurm/jobs.json
run 65 check r
says "r/student: was complete"
says "r/.slurm/jobs.json"
silent_about "holds other numbers"
run 0 check r --repair
says "scancel"
run 0 check r
run 0 resume r
[ "$(digest r)" = "$whole" ] || fail "sections without manifests: another result after the repair"

# Records that are damaged: what they tell of is kept, of a section that is done and of one that is not.
for repair in no yes; do
  for section in data teacher logits student score; do
    flip "r/.plan/sections/$section.json"
    flip "r/.plan/sections/.copies/$section.json"
    inodes >before
    [ $repair = no ] || run 0 check r --repair
    run 0 resume r
    says "$section: resume (its record"
    inodes >after
    cmp -s before after || fail "a damaged record of $section: files were written again"
    run 0 check r
    [ "$(digest r)" = "$whole" ] || fail "a damaged record of $section: another result"
  done
done
RETORT_FAULT_POINT=checkpoint-manifest:4:kill run 137 run tiny.ini --out u
flip u/.plan/sections/teacher.json
flip u/.plan/sections/.copies/teacher.json
run 0 resume u
warns "resuming at step"
[ "$(digest u)" = "$whole" ] || fail "a damaged record of an unfinished section: another result"

# Records that are lost.
mv r/.plan/sections/score.json score.before
rm r/.plan/sections/.copies/score.json
run 0 check r
says "note   r/score: has no record: the next run of the plan makes it anew"
mv score.before r/.plan/sections/score.json
mv r/.plan/settings.json settings.before
rm r/.plan/.copies/settings.json
run 65 check r
says "settings.json: is missing"
run 65 check r --repair
says "start the plan again by"
mv settings.before r/.plan/settings.json
run 0 check r

# A manifest: what it named is made anew.
flip r/logits/manifest.json
run 0 check r --repair
run 0 run tiny.ini --out r
[ "$(digest r)" = "$whole" ] || fail "a damaged manifest: another result after the repair"

# A model from elsewhere cannot be made anew: it is left, and said.
cp -r r/teacher/model foreign
flip foreign/model.h5
run 65 check foreign --repair
says "left"
warns "restore it"
[ -e foreign/model.h5 ] || fail "a model that nobody makes anew was set aside"

# Nothing is touched while a start lives on it.
flip r/teacher/model/model.h5
exec 9<>r/teacher/lock
flock 9
run 64 check r --repair
warns "in use"
[ -e r/teacher/model/model.h5 ] || fail "set aside under a live start"
exec 9>&-
run 0 check r --repair
echo "$repaired damages repaired"
