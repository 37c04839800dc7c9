#!/bin/bash
# A plan runs, is skipped when nothing changed, runs again exactly what a change reaches, and keeps
# seeds apart.
. "$(dirname "$0")/tiny_plan.sh"

run 0 run tiny.ini --dry-run
says "[1/5] data"
says "after data"
[ ! -e runs ] || fail "--dry-run wrote something"

run 0 run tiny.ini
says "plan tiny (tiny.ini): 5 sections"
says "[5/5] score: done"
says "top1"
for section in data teacher logits student score; do
  [ -f runs/tiny/$section/manifest.json ] || fail "no manifest of $section"
done
result=$(digest runs/tiny)
student=$(digest runs/tiny/student)

# Nothing changed: nothing runs, the table is the same.
tail -20 out | grep -A20 '^section' >table
run 0 run tiny.ini
for section in data teacher logits student score; do says "$section: up to date"; done
silent_about "done in"
tail -20 out | grep -A20 '^section' | diff table - || fail "another table"
run 0 run tiny.ini --threads 2 --set student.checkpoint-every=1
silent_about "done in"

# What goes to a full standard output is no success; files that a plan did not make are not touched.
"$RETORT" inspect --digest runs/tiny >/dev/full 2>err
[ $? -eq 74 ] || fail "an output that was lost"
grep -q "standard output cannot be written" err || fail "no word about the lost output"
mkdir -p foreign/data
echo words >foreign/data/thesis.txt
run 64 run tiny.ini --out foreign
warns "foreign/data holds files that Retort did not make"
[ "$(cat foreign/data/thesis.txt)" = words ] || fail "a file that the plan did not make is gone"

# A change reaches what follows from it, and no more; the old output is set aside.
run 0 run tiny.ini --set student.epochs=2 --dry-run
says "epochs was 3, is 2"
run 0 run tiny.ini --set student.epochs=2
says "logits: up to date"
says "student: run again (epochs was 3, is 2"
says "score: done"
[ -f runs/tiny/.old/student-0001/manifest.json ] || fail "the old student is gone"
[ "$(digest runs/tiny/student)" != "$student" ] || fail "another recipe, the same student"
run 0 run tiny.ini
[ "$(digest runs/tiny)" = "$result" ] || fail "the plan does not give its result again"

# What is made again with the same result does not reach what follows.
rm -r runs/tiny/data
run 0 run tiny.ini
says "data: done"
says "teacher: up to date"
touch -d yesterday pictures/class-1/3.pgm
run 0 run tiny.ini
says "data: up to date"
cp pictures/class-1/3.pgm kept.pgm
picture 1 3 1 >pictures/class-1/3.pgm
run 0 run tiny.ini --dry-run
says "input source changed"
# Changed in place, of the same size and with its old time.
cp kept.pgm pictures/class-1/3.pgm
run 0 run tiny.ini
silent_about "done in"
sed -i 's/^\(.*\) 1\([0-9][0-9]\) /\1 2\2 /' pictures/class-1/3.pgm
touch -r kept.pgm pictures/class-1/3.pgm
[ "$(stat -c %s kept.pgm)" = "$(stat -c %s pictures/class-1/3.pgm)" ] || fail "another size"
! cmp -s kept.pgm pictures/class-1/3.pgm || fail "the picture was not changed"
run 0 run tiny.ini --dry-run
says "input source changed"
cp kept.pgm pictures/class-1/3.pgm
run 0 run tiny.ini
silent_about "done in"

# Outputs that are damaged at a glance, or not the plan's, are not trusted.
truncate -s -1 runs/tiny/score/details.json
run 0 run tiny.ini
says "score: run again (its file details.json has"
rm runs/tiny/.plan/sections/{,.copies/}score.json
run 0 run tiny.ini
says "score: run again (its output was not made by this plan"
[ "$(digest runs/tiny)" = "$result" ] || fail "another result"

# --only runs a section with what it needs; --json gives one line.
run 0 run tiny.ini --out only --only logits --json
[ "$(wc -l <out)" = 1 ] || fail "more than one line"
says '"name":"logits","stage":"teach","outcome":"done"'
says '"name":"student","stage":"distill","outcome":"not run"'
[ ! -e only/student ] || fail "--only logits ran student"

# Seeds spread; a section that ran without seeds is set aside.
run 0 run tiny.ini --set teacher.seeds=1..2
warns "was made without seeds"
says "± "
for section in teacher logits student score; do
  for seed in 1 2; do
    [ -f runs/tiny/$section/seed-$seed/manifest.json ] || fail "no $section/seed-$seed"
  done
done
[ "$(digest runs/tiny/student/seed-1)" = "$student" ] || fail "seed 1 is not the default seed's result"
[ "$(digest runs/tiny/student/seed-1)" != "$(digest runs/tiny/student/seed-2)" ] ||
  fail "two seeds, one result"
run 0 run tiny.ini --set teacher.seeds=1..2
silent_about "done in"

run 0 status runs/tiny
says "student/seed-2"
says "done"
silent_about "not started"
run 0 status tiny.ini --out nowhere
says "not started"
run 0 check runs/tiny
says "every byte is right"
echo "plans run, are skipped and repeated as they should"
