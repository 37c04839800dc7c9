#!/bin/bash
# check finds every damaged file of a run and names it; inspect shows what is there.
. "$(dirname "$0")/tiny_plan.sh"

run 0 run tiny.ini --out r
run 0 check r --json
says '"faults":[]'
run 0 check r/logits
run 0 check r/teacher/model

damaged=0
for file in $(find r -type f \( -name '*.h5' -o -name 'manifest.json' -o -name 'details.json' \
  -o -name 'model.json' -o -name results.json -o -name config.ini -o -name source.json -o -path '*/.plan/sections/*' -o -name settings.json \)); do
  size=$(stat -c %s "$file")
  offsets=(0 $((size / 2)) $((size - 1)))
  offset=${offsets[damaged % 3]}
  flip "$file" $offset
  run 65 check r
  grep '^fault' out | grep -qF "$(basename "$(dirname "$file")")" ||
    fail "$file is damaged at $offset, but another is named"
  flip "$file" $offset
  damaged=$((damaged + 1))
done
run 0 check r
# What is gone is named, in a finished section of its own and in a plan's run.
for file in r/data/source.json r/data/config.ini r/teacher/results.json r/teacher/config.ini \
  r/logits/results.json r/score/details.json; do
  mv "$file" gone
  run 65 check "$(dirname "$file")"
  grep '^fault' out | grep -qF "$(basename "$file")" || fail "$file is gone, but another is named"
  mv gone "$file"
  damaged=$((damaged + 1))
done
run 0 check r
sed -i 's/"top1": *[0-9.]*/"top1": 0.999/' r/score/results.json
run 65 check r
says "results.json"

run 0 inspect r
says "student"
run 0 inspect r/data
says "train"
run 0 inspect r/teacher/model
says "multiply_adds"
says "mlp"
run 0 inspect r/logits
says "bytes_per_row"
says "teacher_digest"
run 0 inspect "$(find r/logits -name '*.h5' | head -1)"
says "logit_shard"
run 0 inspect r/teacher --json
[ "$(wc -l <out)" = 1 ] || fail "more than one line"
run 65 inspect pictures
run 65 inspect pictures/class-0/1.pgm

# While a start lives, which removes generations as newer ones come.
"$RETORT" run tiny.ini --out going --set teacher.epochs=20000 --set teacher.checkpoint-every=1 >live.out 2>live.err &
live=$!
checks=0
until [ -d going/teacher/checkpoints ]; do sleep 0.1; done
while [ $checks -lt 25 ] && kill -0 $live 2>/dev/null; do
  run 0 check going
  checks=$((checks + 1))
done
kill -TERM $live 2>/dev/null
wait $live
[ $checks -ge 10 ] || fail "only $checks checks of a live run"
run 0 check going
echo "$damaged damages found"
