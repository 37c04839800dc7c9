#!/usr/bin/env bash
# classify: labels of lines of text from files and standard input with both models for text, whatever
# the threads; its answers are those that evaluate counts; empty lines and broken UTF-8 are answered.
scripts=$(cd "$(dirname "$0")" && pwd)
. "$scripts/strict.sh"
. "$scripts/tiny_texts.sh"

quietly pack --from jsonl --source texts --out data
sed 's/.*"text": "\(.*\)", "label".*/\1/' texts/train.jsonl >lines
sed 's/.*"label": "\(.*\)"}/\1/' texts/train.jsonl >labels
common=(--data data --optimiser adamw --learning-rate 0.02 --batch 16 --epochs 8 --buckets 512)
quietly train --model bag "${common[@]}" --dim 12 --out bag
quietly train --model textcnn "${common[@]}" --dim 12 --filters 12 --out textcnn

for model in bag textcnn; do
  retort classify --model $model lines --top-n 2 --threads 1 >one
  retort classify --model $model lines --top-n 2 --threads 3 >three
  cmp one three || fail "answers of $model depend on threads"
  [ "$(wc -l <one)" = 75 ] || fail "not a line for each text"
  right=$(cut -f2 one | cut -d' ' -f1 | paste - labels | awk '$1 == $2' | wc -l)
  top1=$(retort evaluate --model $model --data data --split train --json |
    sed 's/.*"top1":\([0-9.]*\).*/\1/')
  [ "$(awk "BEGIN { printf \"%.0f\", $top1 * 75 }")" = "$right" ] ||
    fail "$model: evaluate counts $top1, classify $right of 75"
  [ "$right" -ge 55 ] || fail "$model learned nothing: $right of 75"

  # From standard input, as it comes; the first line is empty, the last one is cut within a character.
  printf '\nt3w1 t3w2\nt3w1 \303' | retort classify --model $model - --json >out 2>err
  [ "$(grep -c '"labels"' out)" = 3 ] || fail "not three answers"
  grep -q '1 invalid bytes' err || fail "the broken character is not counted"
  sed -n 2p out | grep -q '"labels":\[{"name":"topic-3"' || fail "two words of topic 3 are not"
done

refuse 64 "takes pictures, the data set holds text" retort train --data data --model mlp --out refused/a
refuse 64 "0 buckets" retort train --data data --model bag --buckets 0 --out refused/b
refuse 64 "--widths 0" retort train --data data --model textcnn --widths 0,3 --out refused/c
refuse 64 "'min-chars' belongs to unit word" retort train --data data --model bag --unit character --min-chars 2 --out refused/d
refuse 64 "ngrams" retort train --data data --model textcnn --ngrams 2 --out refused/e
refuse 64 "--augment" retort train --data data --model bag --augment-shift 0.1 --out refused/f
echo "$right of 75 right, $cases refused"
