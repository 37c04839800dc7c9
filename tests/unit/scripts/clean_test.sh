#!/usr/bin/env bash
# clean: old generations, what was set aside and what killed starts left goes; what a resume or a later
# section needs stays, and the result with it.
. "$(dirname "$0")/tiny_plan.sh"
run 0 run tiny.ini --out done --log-level error
result=$(digest done/score)
generations() { find "$1/checkpoints" -mindepth 1 -maxdepth 1 -name 'gen-*' ! -name '*.bad' ! -name '*.tmp' | wc -l; }
[ "$(generations done/teacher)" = 2 ] || fail "the teacher kept $(generations done/teacher) generations"

# Something set aside, something left over, an output of other options.
cp -r "$(find done/teacher/checkpoints -name 'gen-*' | head -n 1)" done/teacher/checkpoints/gen-0000000001-e0001.bad
echo half >done/logits/part.h5.0123abcd-77.tmp
echo mine >done/logits/notes.tmp # a user's
run 0 run tiny.ini --out done --set score.split=train --log-level error
run 0 run tiny.ini --out done --log-level error
[ "$(find done/.old -mindepth 1 -maxdepth 1 | wc -l)" = 2 ] || fail "nothing was set aside"
find done | sort >before
run 0 clean done --dry-run --json
for text in gen-0000000001-e0001.bad part.h5.0123abcd-77.tmp .old/score-0001; do says "$text"; done
find done | sort | cmp -s before - || fail "a dry run changed something"
run 0 clean done
says 'was set aside as damaged'
[ -e done/logits/notes.tmp ] || fail "a user's file was removed"
[ -z "$(find done -name '*.bad' -o -name 'part*.tmp' -o -path 'done/.old/*')" ] || fail "left: $(find done)"
[ "$(generations done/teacher)" = 2 ] || fail "--keep 2 left $(generations done/teacher)"
run 0 clean done --keep 0 --keep-best
[ "$(generations done/teacher)$(generations done/student)" = 00 ] || fail "--keep 0 left some"
run 0 check done
run 0 run tiny.ini --out done --dry-run
silent_about 'run again'
[ "$(grep -c 'up to date' out)" = 5 ] || fail "not all up to date"
[ "$(digest done/score)" = "$result" ] || fail "another result"

# A section that is not done keeps two that verify, whatever is asked for, damaged ones not counted.
run 0 run tiny.ini --out part --only data
RETORT_FAULT_POINT='checkpoint/checkpoint-manifest:6:kill' "$RETORT" run tiny.ini --out part \
  --set teacher.keep=9 --set teacher.checkpoint-every=1 >out 2>err
[ "$(generations part/teacher)" = 6 ] || fail "not five generations and a part of one: $(find part/teacher)"
newest=$(find part/teacher/checkpoints -name manifest.json | sort | tail -n 1)
printf x >>"$(find "${newest%/*}" -name '*.h5' | head -n 1)"
stood=$(generations part/teacher)
run 0 clean part --keep 0
[ "$(generations part/teacher)" = 3 ] || fail "$(generations part/teacher) of $stood are left"
run 0 run tiny.ini --out part
warns 'resuming at step 4'
[ "$(digest part/score)" = "$result" ] || fail "after cleaning and resuming, another result"

# A live run is left alone.
run 0 run tiny.ini --out live --only data
RETORT_FAULT_POINT='*:1:hold' RETORT_FAULT_REPORT=$work/held "$RETORT" resume live --section teacher >held.out 2>&1 &
holder=$!
for _ in $(seq 100); do [ -s held ] && break; sleep 0.1; done
run 64 clean live
warns 'is in use by process'
kill -KILL $holder
