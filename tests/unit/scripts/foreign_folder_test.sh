#!/usr/bin/env bash
# Nobody's files are written over: a stage refuses a folder that holds others' files, goes on in its
# own; predictions replace no file of a result; errors of a section name the option's line.
. "$(dirname "$0")/tiny_plan.sh"
run 0 run tiny.ini --out r
train=(train --data r/data --model mlp --hidden 8 --steps 4 --batch 16 --micro-shards 4 --checkpoint-every 2)

mkdir mine
echo "my network" >mine/model.py
echo "my settings" >mine/config.ini
cp -r mine before
refused() { # COMMAND...
  run 64 "$@" --out mine
  warns "mine holds files and no result of Retort"
  diff -r mine before || fail "$1 changed a folder of others"
}
refused "${train[@]}"
refused pack --from folder --source pictures --split train=rest,test=2
refused teach --data r/data --model r/teacher --top-k 2
refused distill --data r/data --logits r/logits --model mlp --hidden 8 --steps 4 --batch 16
refused evaluate --data r/data --model r/teacher
refused export --model r/teacher
refused smooth --model r/teacher --top-m 2
run 64 pack --from folder --source pictures --split train=rest,test=2 --out pictures
warns "pictures holds files and no result of Retort"

# Its own folder, whatever was left there by a kill.
RETORT_FAULT_POINT=checkpoint-manifest:2:kill "$RETORT" "${train[@]}" --out own >out 2>err
[ $? = 137 ] || fail "not killed"
run 0 "${train[@]}" --out own
mkdir empty
run 0 "${train[@]}" --out empty
RETORT_FAULT_POINT=atomic-write:1:kill "$RETORT" export --model r/teacher --out exported >out 2>err
[ $? = 137 ] || fail "export was not killed"
run 0 export --model r/teacher --out exported

cp r/teacher/results.json kept
run 64 evaluate --data r/data --model r/teacher --predictions r/teacher/results.json
warns "is a file of the result in"
cmp kept r/teacher/results.json || fail "predictions replaced a result"
run 64 evaluate --data r/data --model r/teacher --predictions r/data/manifest.json
for again in 1 2; do # its own may be written again, wherever they are
  run 0 evaluate --data r/data --model r/teacher --predictions r/teacher/answers.tsv
done

line=$(grep -n '^top-k' tiny.ini | cut -d: -f1)
run 64 run tiny.ini --out other --set logits.top-k=0
warns "--set logits.top-k: [logits]: --top-k 0"
sed -i "${line}s/.*/top-k = 9/" tiny.ini
run 64 run tiny.ini --out r
warns "tiny.ini:$line: [logits]: --top-k 9"

# Edits of the copy are nobody's to throw away.
echo "# mine" >>r/plan.ini
run 0 resume r
warns "is left alone"
tail -n 1 r/plan.ini | grep -qx '# mine' || fail "resume threw an edit of plan.ini away"
