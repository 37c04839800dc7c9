#!/usr/bin/env bash
# Results, generations and records of other runs or other options in the places of a run's own, alone and
# together with damage: never used, never the reason to stop for good, and nothing of the run's own is
# taken away by check --repair or clean.
. "$(dirname "$0")/tiny_plan.sh"
run 0 run tiny.ini --out whole
run 0 run tiny.ini --out five --set teacher.seed=5
whole=$(digest whole)
five=$(digest five)
[ "$whole" != "$five" ] || fail "the seed changes nothing"
killed begun
killed another --set teacher.seed=5
newest=$(basename "$(dirname "$(ls begun/teacher/checkpoints/gen-*/manifest.json | tail -n 1)")")
both() { flip "$1"; flip "$(dirname "$1")/.copies/$(basename "$1")"; }

# A record of which no copy is right, and other options: what is there is not taken for theirs.
for section in teacher logits student; do
  case $section in
    teacher) option=teacher.seed=5 ;;
    logits) option=logits.top-k=3 ;;
    student) option=student.seed=9 ;;
  esac
  run 0 run tiny.ini --out options --set $option
  from whole
  both "r/.plan/sections/$section.json"
  run 0 run tiny.ini --out r --set $option
  says "run again"
  gives "$(digest options)" "$section: a damaged record and other options"
  rm -rf options
done
from whole
both r/.plan/sections/teacher.json
run 0 check r --repair
run 0 run tiny.ini --out r --set teacher.seed=5
gives "$five" "a record set aside and other options"
from whole
both r/.plan/sections/data.json
cp pictures/class-0/0.pgm kept.pgm
cp pictures/class-1/0.pgm pictures/class-0/0.pgm
run 0 resume r
run 0 run tiny.ini --out changed
gives "$(digest changed)" "a damaged record and another source"
cp kept.pgm pictures/class-0/0.pgm

# A finished folder of another run where the own one was not finished, or not on record.
from begun
rm -r r/teacher && cp -r five/teacher r/
run 0 resume r
gives "$whole" "another run's finished section"
RETORT_FAULT_POINT='atomic-rename@.plan/sections/teacher.json:2:kill' "$RETORT" run tiny.ini --out late \
  >out 2>err
[ -e late/teacher/manifest.json ] || fail "not killed after the manifest"
from late
run 0 resume r
gives "$whole" "finished, not on record"
from late
cp -r five/teacher/{manifest.json,results.json,model} r/teacher/
run 0 resume r
gives "$whole" "another run's manifest, not on record"
for section in teacher student; do
  for repair in no yes; do
    from whole
    rm -r "r/$section" && cp -r "five/$section" r/
    if [ $repair = yes ]; then
      run 65 check r
      "$RETORT" check r --repair >out 2>err
    fi
    run 0 resume r
    gives "$whole" "another run's $section in the place of a finished one, repair: $repair"
  done
done
from begun
rm -r r/teacher && cp -r another/teacher r/
run 0 resume r
gives "$whole" "another run's unfinished section"

# Its generations, with claims damaged, or another run's, too.
replace() { rm -rf "r/teacher/checkpoints/$newest" && cp -r "another/teacher/checkpoints/$newest" r/teacher/checkpoints/; }
for claims in '' 1 2 '1 2' another; do
  for repair in no yes; do
    from begun
    replace
    for claim in $claims; do
      if [ "$claim" = another ]; then
        cp another/teacher/claims/* r/teacher/claims/
      else
        flip "r/teacher/claims/epoch-000$claim"
      fi
    done
    run 65 check r
    says "fault  r/teacher/checkpoints: holds generations of two runs"
    [ $repair = no ] || run 65 check r --repair
    run 0 clean r --keep 1
    run 0 resume r
    warns "resuming at step"
    gives "$whole" "another run's generation, claims: $claims, repair: $repair"
  done
done
for place in gen-0000000999-e0001 gen-0000000999-e0002; do
  from begun
  cp -r "another/teacher/checkpoints/$newest" "r/teacher/checkpoints/$place"
  run 65 check r
  run 0 resume r
  warns "resuming at step"
  gives "$whole" "another run's $place"
done
from begun
cp -r "another/teacher/checkpoints/$newest" r/teacher/checkpoints/gen-0000000010-e0002
run 0 clean r --keep 1
silent_about "gen-"
run 0 resume r
gives "$whole" "clean beside another run's generation"
# A claim that is no file.
for kind in folder loop; do
  from begun
  rm r/teacher/claims/epoch-0002
  [ $kind = folder ] && mkdir r/teacher/claims/epoch-0002 || ln -s epoch-0002 r/teacher/claims/epoch-0002
  run 65 check r
  run 0 resume r
  warns "resuming at step"
  gives "$whole" "a claim that is a $kind"
done

# Sources of the same bytes and other times, and data that has to be made again.
from whole
touch pictures/class-0/0.pgm
flip r/data/classes.h5
run 0 check r --repair
run 0 resume r
gives "$whole" "sources of other times"
RETORT_FAULT_POINT='atomic-rename@data/manifest.json:1:kill' "$RETORT" run tiny.ini --out packed >out 2>err
touch pictures/class-0/0.pgm
run 0 resume packed
[ "$(digest packed)" = "$whole" ] || fail "a killed pack and sources of other times: another result"

# One bit in what a run is kept by: nothing ends, and each is written again from its copy.
for file in .plan/settings.json .plan/sections/data.json .plan/sections/teacher.json; do
  for damage in flip gone; do
    from begun
    if [ $damage = flip ]; then flip "r/$file"; else rm "r/$file"; fi
    run 75 status r --decide teacher
    run 0 resume r --section teacher
    warns "its copy is right and is used"
    warns "resuming at step"
    from begun
    if [ $damage = flip ]; then flip "r/$file"; else rm "r/$file"; fi
    run 65 check r
    says "fault  r/$file"
    run 0 check r --repair
    says "written again from its copy"
    run 0 resume r
    silent_about "its copy"
    gives "$whole" "$file $damage"
  done
done

# What keeps a run, of another run and right in itself: its copy counts; where that is the other's, too,
# it says so, and the plan can be taken again.
for state in whole begun; do
  for file in .plan/settings.json .plan/sections/teacher.json; do
    from $state
    cp "five/$file" "r/$file"
    run 65 check r
    says "fault  r/$file: is of another run"
    run 0 resume r
    warns "its copy is right and is used"
    [ "$(digest r)" = "$whole" ] || fail "another run's $file, $state: another result"
    from $state
    cp "five/$file" "r/$file"
    run 0 check r --repair
    run 0 resume r
    silent_about "its copy"
    gives "$whole" "another run's $file, repaired, $state"
    from $state
    cp "five/$file" "r/$file"
    cp "five/$file" "r/$(dirname "$file")/.copies/"
    run 65 check r
    if [ "$file" = .plan/settings.json ]; then
      run 65 resume r
      warns "settings.json: is of another run"
      run 0 run tiny.ini --out r
    else
      run 0 resume r
    fi
    gives "$whole" "another run's $file and copy, $state"
  done
done
# As many of one run as of another.
from whole
rm -r r/.plan/sections
cp five/.plan/settings.json r/.plan/
run 65 resume r
warns "as many of its records are of one run as of another"
run 0 run tiny.ini --out r
gives "$whole" "no records, and settings of two runs"

# Shards of a source with the same names and sizes.
cp -r pictures others
for file in pictures/*/*.pgm; do tr 1 2 <"$file" >"others/${file#pictures/}"; done
sed 's/^source = .*/source = others/' tiny.ini >others.ini
grep -q 'source = others' others.ini || fail "the plan names its source in another way"
for plan in tiny others; do
  RETORT_FAULT_POINT='atomic-rename@data/manifest.json:1:kill' "$RETORT" run $plan.ini --out packed-$plan \
    >out 2>err
  [ -d packed-$plan/data/members ] || fail "$plan: not killed while packing"
done
shard=$(cd packed-others/data/members && find . -name '*.json' | sort | head -n 1)
[ -n "$shard" ] || fail "no shard is on record"
from packed-tiny
cp "packed-others/data/members/$shard" "r/data/members/$shard"
cp "packed-others/data/${shard%.json}" "r/data/${shard%.json}"
run 0 resume r
warns "was made from other source files"
gives "$whole" "a shard of another source"
