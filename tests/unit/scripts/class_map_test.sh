#!/usr/bin/env bash
# A model and a data set whose classes have other names and another order: refused without a map,
# with it the same scores as where they are equal, and logits in the data set's order.
. "$(dirname "$0")/strict.sh"

# 6x6 grey pictures that are bright in one corner: CORNER CLASS.
picture() {
  awk -v corner="$1" -v n="$2" 'BEGIN {
    printf "P2\n6 6\n255\n"
    for (y = 0; y < 6; ++y) for (x = 0; x < 6; ++x)
      printf "%d ", (x > 2) + 2 * (y > 2) == corner ? 200 + n : 20 + (x * 7 + y * 5 + n * 3) % 40
    printf "\n" }'
}
for number in 0 1 2 3 4 5; do
  for corner in 0 1 2; do
    theirs=$(printf '%s' "c b a" | cut -d' ' -f$((corner + 1)))
    mkdir -p "ours/corner $corner" "theirs/$theirs"
    picture $corner $number | tee "ours/corner $corner/$number.pgm" >"theirs/$theirs/$number.pgm"
  done
done
quietly pack --from folder --source ours --split train=rest --out ours.data
quietly pack --from folder --source theirs --split train=rest --out theirs.data
quietly train --data theirs.data --model mlp --hidden 8 --batch 8 --steps 12 --learning-rate 0.05 --out model
printf '# theirs\tours is no comment: it has a tab\n' >bad.tsv
printf '# theirs, ours\nc\tcorner 0\nb\tcorner 1\na\tcorner 2\n' >map.tsv

evaluate=(evaluate --model model --split train)
refuse 65 "--class-map" retort "${evaluate[@]}" --data ours.data --out refused
refuse 65 "bad.tsv:1" retort "${evaluate[@]}" --data ours.data --class-map bad.tsv --out refused
refuse 64 "nowhere.tsv" retort "${evaluate[@]}" --data ours.data --class-map nowhere.tsv --out refused
refuse 64 "--pixel-mean is for TorchScript files" retort "${evaluate[@]}" --data theirs.data \
  --pixel-mean 0.5 --out refused
refuse 64 "--classes is for TorchScript files" retort "${evaluate[@]}" --data theirs.data \
  --classes map.tsv --out refused

# To ten digits: the sums run over the samples in another order.
value() { printf '%.10f' "$(sed -n "s/.*\"$1\":\([^,}]*\).*/\1/p" "$2")"; }
retort "${evaluate[@]}" --data theirs.data --json >same.json
retort "${evaluate[@]}" --data ours.data --class-map map.tsv --json >mapped.json
for field in top1 top5 loss calibration_error mean_recall; do
  [ "$(value $field same.json)" = "$(value $field mapped.json)" ] || fail "another $field"
done
grep -q '"class_map"' mapped.json || fail "results do not name the map"
# The same order under the same names needs none, and another order of lines changes nothing.
(head -1 map.tsv; tail -3 map.tsv | sort) >sorted.tsv
quietly teach --model model --data ours.data --class-map map.tsv --top-k 2 --out logits
quietly teach --model model --data ours.data --class-map sorted.tsv --top-k 2 --out again
[ "$(retort inspect --digest logits)" = "$(retort inspect --digest again)" ] || fail "order of lines counts"
quietly distill --data ours.data --logits logits --model mlp --hidden 8 --batch 8 --steps 2 --out student
quietly evaluate --data ours.data --model student --split train
echo "$cases refused"
