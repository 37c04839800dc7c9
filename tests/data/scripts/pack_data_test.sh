#!/usr/bin/env bash
# Real sets through pack, read back with h5py as docs/packed_dataset_format.md says, and compared
# with what numpy and PIL read from the source files: every pixel, label, CRC and digest.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for name in mnist omniglot cifar10-jpg cfp orl-faces; do
  if ! unpacked=$(bash "$RETORT_SOURCE/scripts/unpack-data" "$name"); then
    echo "skipped: no archive of $name in RETORT_DATA"
    exit 77
  fi
  ln -s "$unpacked" "$folder/$name"
done
python=$("$RETORT_SOURCE/scripts/peers") || { code=$?; echo "$python"; exit $code; }
pack() {
  local name=$1
  shift
  "$RETORT" pack --out "$folder/packed/$name" --json "$@" > "$folder/$name.json"
}
cd "$folder"
pack mnist --from idx --source mnist/mnist
pack orl --from folder --source orl-faces/orl-faces/orl_faces
pack omniglot --from folder --source omniglot/omniglot/images_background
pack cifar --from folder --source cifar10-jpg/cifar10-jpg
pack cfp --from folder --source cfp/cfp/Data/Images --class-from 2 --store encoded --size 64 \
  --channels 3 --split train=rest,validation=2,test=2
"$python" -B "$RETORT_SOURCE/tests/data/scripts/pack_oracle.py" "$folder"
