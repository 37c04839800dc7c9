#!/usr/bin/env bash
# classify: labels of pictures from files and standard input, in order, whatever the threads; it goes
# on after a broken picture and ends with 65; its answers are those that evaluate counts.
. "$(dirname "$0")/strict.sh"

# 6x6 grey pictures that are bright in one corner, with noise: CORNER NUMBER.
picture() {
  awk -v corner="$1" -v n="$2" 'BEGIN {
    printf "P2\n6 6\n255\n"; r = 7919 * (corner * 31 + n)
    for (y = 0; y < 6; ++y) for (x = 0; x < 6; ++x) {
      r = (r * 1103 + 12345) % 65536
      printf "%d ", ((x > 2) + 2 * (y > 2) == corner ? 90 : 20) + r % 110 }
    printf "\n" }'
}
for corner in 0 1 2; do
  mkdir -p "pictures/corner $corner"
  for number in 0 1 2 3 4 5 6 7; do picture $corner $number >"pictures/corner $corner/$number.pgm"; done
done
quietly pack --from folder --source pictures --split train=rest --out data
quietly train --data data --model mlp --hidden 8 --batch 8 --steps 9 --learning-rate 0.02 --out model

# A command that calls MPI_Init would fail here.
export OPAL_PREFIX=/nowhere
files=(pictures/*/*.pgm)
retort classify --model model "${files[@]}" --top-n 2 --json --threads 1 >one
retort classify --model model "${files[@]}" --top-n 2 --json --threads 3 >three
cmp one three || fail "answers depend on threads"
unset OPAL_PREFIX
[ "$(wc -l <one)" = 24 ] || fail "not a line for each picture"
index=0
right=0
while read -r line; do
  file=${files[$index]}
  case $line in "{\"file\":\"$file\",\"labels\":["*) ;; *) fail "line $index is not about $file: $line" ;; esac
  case $line in *"[{\"name\":\"$(basename "$(dirname "$file")")\""*) right=$((right + 1)) ;; esac
  [ "$(grep -o '"probability"' <<<"$line" | wc -l)" = 2 ] || fail "not two labels: $line"
  index=$((index + 1))
done <one
retort evaluate --model model --data data --split train --json >score.json
top1=$(sed 's/.*"top1":\([0-9.]*\).*/\1/' score.json)
[ "$(awk "BEGIN { printf \"%.0f\", $top1 * 24 }")" = "$right" ] || fail "evaluate counts $top1, classify $right of 24"

# One picture from standard input, and text for people: all three classes where five are asked for.
retort classify --model model - <"${files[3]}" >out
retort classify --model model "${files[3]}" >again
[ "$(cut -f2- out)" = "$(cut -f2- again)" ] || fail "standard input gives another answer"
[ "$(awk -F'\t' '{print NF}' again)" = 4 ] || fail "not the name and three labels"

# Broken pictures are named, the others are answered.
head -c 20 "${files[0]}" >cut.pgm
got=0
retort classify --model model "${files[0]}" cut.pgm nowhere.png "${files[1]}" --json >out 2>err || got=$?
[ "$got" = 65 ] || fail "exit code $got after broken pictures"
[ "$(grep -c '"labels"' out)" = 2 ] && [ "$(grep -c '"error"' out)" = 2 ] || fail "not two answers and two errors"
grep -q 'warning: cut.pgm: ' err || fail "the broken picture is not named"
grep -q 'nowhere.png' err || fail "the missing picture is not named"
grep -q '2 of 4 pictures could not be classified' err || fail "no summary"

refuse 64 "--top-n" retort classify --model model --top-n 0 "${files[0]}"
refuse 64 "files" retort classify --model model
refuse 64 "--model nowhere: there is no such file or folder" retort classify --model nowhere "${files[0]}"
refuse 64 "no such file" retort classify --model nowhere.pt "${files[0]}"
refuse 64 "is for TorchScript files" retort classify --model model --pixel-mean 0.5 "${files[0]}"
echo "$right of 24 right, $cases refused"
