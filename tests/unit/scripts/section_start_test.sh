#!/usr/bin/env bash
# resume --section: one section alone, others beside it; the whole plan and a section exclude each
# other; the result is that of a run of the whole plan.
. "$(dirname "$0")/tiny_plan.sh"
sed -i "/^\[teacher\]/a seeds = 1,2" tiny.ini
run 0 run tiny.ini --out whole --log-level error
whole=$(digest whole/score/seed-2)

run 0 run tiny.ini --out parts --only data
run 65 resume parts --section logits/seed-1
warns "it needs teacher/seed-1, which is not done (no output yet)"
run 64 resume parts --section teacher/seed-3
warns "it is teacher/seed-1, teacher/seed-2"
run 64 resume parts --section techer
warns "did you mean teacher?"
run 64 resume parts --section teacher --only teacher

# Both seeds at the same time.
"$RETORT" resume parts --section teacher/seed-1 >one 2>&1 &
first=$!
"$RETORT" resume parts --section teacher/seed-2 >two 2>&1 &
second=$!
wait $first || fail "seed 1: $(cat one)"
wait $second || fail "seed 2: $(cat two)"
grep -q 'teacher/seed-1: done' one && ! grep -q 'seed-2: ' one || fail "not seed 1 alone: $(cat one)"
for section in logits student score; do run 0 resume parts --section $section; done
[ "$(digest parts/score/seed-2)" = "$whole" ] || fail "section by section, another result"
run 0 resume parts --section score/seed-1
says "score/seed-1: up to date"
run 0 status parts --decide score
run 0 resume parts
says "score/seed-2: up to date"

# A start that stands still in its section refuses the whole plan and a second one of the section,
# not another section; and the other way round.
rm -r parts/.plan/sections/score.* parts/score
RETORT_FAULT_POINT='*:1:hold' RETORT_FAULT_REPORT=$work/held "$RETORT" resume parts --section student/seed-1 \
  --take-over >held.out 2>&1 &
holder=$!
for _ in $(seq 100); do [ -s held ] && break; sleep 0.1; done
[ -s held ] || fail "no start stands still: $(cat held.out)"
run 64 resume parts --section student/seed-1
warns "is in use by process"
run 64 resume parts
warns "parts/.plan/starts/student.seed-1 is in use by process"
run 0 status parts
run 0 resume parts --section score/seed-1
kill -KILL $holder
wait $holder 2>/dev/null
run 0 resume parts
[ "$(digest parts/score/seed-2)" = "$whole" ] || fail "after a kill, another result"
run 0 check parts
