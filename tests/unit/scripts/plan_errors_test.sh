#!/bin/bash
# What is wrong with a plan is found before anything starts: one line, exit code 64, nothing written.
. "$(dirname "$0")/tiny_plan.sh"

# refuse MESSAGE ARGUMENTS...
refuse() {
  local message=$1
  shift
  run 64 run "$@" --out refused
  warns "$message"
  [ "$(wc -l <err)" = 1 ] || fail "more than one line for: $*"
  [ ! -e refused ] || fail "something was written for: $*"
}
plan() { cat >bad.ini; }

refuse "there is no plan missing.ini" missing.ini
refuse "is a folder, not a plan" pictures
plan </dev/null
refuse "bad.ini: the plan is empty" bad.ini
printf 'stage = pack\n' | plan
refuse "bad.ini:1" bad.ini
printf '[a]\nstage pack\n' | plan
refuse "bad.ini:2" bad.ini
printf '[a]\nstage = pack\nfrom = idx\nfrom = folder\n' | plan
refuse "bad.ini:4: [a]: key 'from'" bad.ini
printf '[a]\nstage = pack\n[a]\nstage = pack\n' | plan
refuse "[a]" bad.ini
printf '[a]\nfrom = idx\n' | plan
refuse "names no stage" bad.ini
printf '[a]\nstage = pakc\n' | plan
refuse "did you mean pack" bad.ini
printf '[a]\nstage = evaluate\ndata = @a\nmodel = m\n' | plan
refuse "bad.ini:3: section [a] refers to itself" bad.ini
printf '[a]\nstage = evaluate\ndata = @b\nmodel = m\n[b]\nstage = teach\ndata = @a\nmodel = m\n' | plan
refuse "circle: a -> b -> a" bad.ini
printf '[a]\nstage = evaluate\ndata = ${NOT_THERE}/x\nmodel = m\n' | plan
refuse "environment variable NOT_THERE" bad.ini
head -c 300 /dev/zero | plan
refuse "bad.ini" bad.ini

refuse "there is no section [date]; did you mean data?" tiny.ini --set teacher.data=@date
refuse "did you mean 'epochs'" tiny.ini --set teacher.epoch=3
refuse "--set teacher.epochs: [teacher]" tiny.ini --set teacher.epochs=many
refuse "the plan has no section [techer]" tiny.ini --set techer.epochs=1
refuse "SECTION.KEY=VALUE" tiny.ini --set epochs=1
refuse "--set data.variants: [data]: option 'variants' belongs to from glyphs" tiny.ini --set data.variants=2
refuse "'nesterov' belongs to optimiser sgd" tiny.ini --set student.optimiser=adamw --set student.nesterov=true
refuse "remove 'out'" tiny.ini --set teacher.out=x
refuse "seeds: 3..1 is empty" tiny.ini --set teacher.seeds=3..1
refuse "has no seed" tiny.ini --set score.seeds=1..2
refuse "both seeds and seed" tiny.ini --set teacher.seeds=1..2 --set teacher.seed=1
refuse "give both the same seeds" tiny.ini --set teacher.seeds=1..2 --set student.seeds=1..3
refuse "there is no section [nothing]" tiny.ini --only nothing

# A missing input is found before anything starts, too; in another section's folder when it is there.
refuse "--set data.source: [data]: source = nowhere: there is no such file or folder" tiny.ini \
  --set data.source=nowhere
refuse "--set teacher.init: [teacher]: init = no.safetensors: there is no such file" tiny.ini \
  --set teacher.init=no.safetensors
run 64 run tiny.ini --out inner --set teacher.init=@data/nowhere
warns "[teacher]: option init: inner/data/nowhere does not exist"
# More classes than there are: found once the data is packed, before the teacher is trained; at once
# where it is packed already.
for packed in no yes; do
  run 64 run tiny.ini --out many --set logits.top-k=5
  warns "[logits]: --top-k 5: many/data knows only 4 classes"
  [ ! -e many/teacher ] || fail "the teacher was trained before its plan was refused"
  if [ $packed = no ]; then says "data: done"; else silent_about "data: up to date"; fi
done
run 64 run tiny.ini --out many --dry-run --set logits.top-k=5
run 0 run tiny.ini --out many --dry-run
# A run folder that is none is bad data.
run 65 resume pictures
warns "is not the folder of a plan's run"
run 65 check pictures
warns "holds nothing that Retort wrote"
run 64 inspect nothing
warns "does not exist"
run 64 run
warns "plan"

# A section that fails ends the run with its code; what was complete stays.
run 64 run tiny.ini --out failed --set logits.top-k=1 --set 'score.split=no such'
says "[4/5] student: done"
warns "[score]: failed/data: "
warns "no such"
[ ! -e failed/score/manifest.json ] || fail "a failed section is complete"
run 0 resume failed --dry-run
says "student"
# --keep-going runs what does not need the failed one.
cat >>tiny.ini <<'PLAN'
[broken]
stage = evaluate
data = @data
model = @teacher
split = no such
[after]
stage = evaluate
data = @data
model = @teacher
PLAN
run 64 run tiny.ini --out failed --keep-going
warns "no such"
says "[7/7] after: done"
says "[5/7] score: done"
# Two starts on one run folder: the second is refused. The first is held up by a lock of its own.
exec 9>failed/.plan/lock
flock -n 9 || fail "the lock of a finished run is held"
run 64 run tiny.ini --out failed --only data
exec 9>&-
echo "bad plans are refused"
