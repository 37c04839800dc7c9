#!/usr/bin/env bash
# --device: cpu computes here, cuda insists on a GPU and says what is missing;
# an option of this kind changes no recipe.
. "$(dirname "$0")/strict.sh"

if retort doctor 2>&1 | grep -q 'NVIDIA'; then
  echo "a GPU is here: the tests labelled gpu cover it"
  exit 77
fi
for class in a b; do
  mkdir -p "pictures/$class"
  for number in 1 2 3 4 5 6; do
    awk -v n=$number -v c=$class 'BEGIN { printf "P2\n6 6\n255\n"
      for (i = 0; i < 36; ++i) printf "%d ", (i * (c == "a" ? 7 : 3) + n * 11) % 256 }' \
      >"pictures/$class/$number.pgm"
  done
done
quietly pack --from folder --source pictures --split train=rest --out data
train=(train --data data --model mlp --hidden 4 --batch 4 --micro-shards 2 --steps 3)
quietly "${train[@]}" --device cpu --out cpu
quietly "${train[@]}" --out auto
[ "$(retort inspect --digest cpu)" = "$(retort inspect --digest auto)" ] || fail "auto is not the CPU"
refuse 64 "--device cuda" retort "${train[@]}" --device cuda --out x
refuse 64 "give --device cpu" retort "${train[@]}" --device cuda --out x
refuse 64 "--device cuda" retort teach --data data --model cpu --top-k 1 --device cuda --out x
refuse 64 "--device cuda" retort evaluate --data data --model cpu --split train --device cuda
refuse 64 "gpu-order" retort "${train[@]}" --gpu-order none --out x
[ ! -e x ] || [ -z "$(ls -A x)" ] || fail "something was written before the refusal"
# The same recipe: nothing to do for another device.
quietly "${train[@]}" --device auto --out cpu
echo "devices are chosen and refused as they should"
