#!/usr/bin/env bash
# Real sets of texts through pack, read back with h5py, and compared with what Python's json and
# codecs read from the source files: every text, its labels, their order, every digest.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for name in clinc150 langid-lingua79 fewclue trec; do
  if ! unpacked=$(bash "$RETORT_SOURCE/scripts/unpack-data" "$name"); then
    echo "skipped: no archive of $name in RETORT_DATA"
    exit 77
  fi
  ln -s "$unpacked/$name" "$folder/$name"
done
python=$("$RETORT_SOURCE/scripts/peers") || { code=$?; echo "$python"; exit $code; }
pack() {
  local name=$1
  shift
  "$RETORT" pack --out "$folder/packed/$name" --json "$@" > "$folder/$name.json"
}
cd "$folder"
pack clinc150 --from json --source clinc150/data_full.json --source-splits train,validation,test
pack clinc151 --from json --source clinc150/data_full.json --shard-samples 999
pack clinc-oos --from json --source clinc150/data_full.json --classes packed/clinc150 \
  --unknown-labels unlabelled
cut=(--from json --source clinc150/data_full.json --source-splits train,validation,test
     --carve unlabelled=0.8)
pack clinc-t "${cut[@]}" --keep-splits train,validation,test
pack clinc-u "${cut[@]}" --keep-splits unlabelled --drop-labels unlabelled
pack languages --from tsv --source langid-lingua79/sentences --label-from file-name --columns 1
mkdir words
cp langid-lingua79/single-words/{a,e,k,z}*.txt words
pack words --from tsv --source words --label-from file-name --columns 1 \
  --split train=0.8,validation=0.1,test=0.1
pack trec --from tsv --source trec --files train=train,test=test --encoding latin-1 \
  --separator space --columns 2 --label-column 1 --text-column 2
pack trec-coarse --from tsv --source trec --files train=train,test=test --separator space \
  --columns 2 --label-column 1 --text-column 2 --label-separator :
pack tnews --from jsonl --source fewclue/tnews --text-field sentence --label-field label_desc \
  --files train=train_few_all.json,validation=dev_few_all.json,test=test_public.json
pack tnews-unlabelled --from jsonl --source fewclue/tnews --text-field sentence --label-from none \
  --files unlabelled=unlabeled.json --classes packed/tnews
pack iflytek --from jsonl --source fewclue/iflytek --text-field sentence \
  --files train=train_0.json,test=test_public.json
"$python" -B "$RETORT_SOURCE/tests/data/scripts/text_oracle.py" "$folder"
