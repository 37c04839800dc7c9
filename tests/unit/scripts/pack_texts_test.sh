#!/usr/bin/env bash
# Texts through the program: what inspect and check say of them, options that do not fit, classes of
# another dataset, T and U of one source.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cases=0
fails() {  # exit code, pattern, options...
  local code=$1 pattern=$2 got=0
  shift 2
  rm -rf out
  "$RETORT" pack --out out "$@" > stdout 2> stderr || got=$?
  if [ "$got" -ne "$code" ] || ! grep -q -- "$pattern" stderr || [ "$(grep -c '' stderr)" -ne 1 ] ||
      [ -s stdout ] || [ -e out/manifest.json ]; then
    echo "retort pack $*: exit code $got, wanted $code and '$pattern' in one line of:"
    cat stderr stdout
    exit 1
  fi
  cases=$((cases + 1))
}
value() { python3 -c "import json,sys; d=json.load(open(sys.argv[1])); print(($2))" "$1"; }

mkdir set
python3 - <<'PY'
import json, random
random.seed(1)
words = "pay bill play song book table what weather call mum".split()
def rows(name, count):
    with open(f"set/{name}.jsonl", "w", encoding="utf-8") as f:
        for i in range(count):
            label = ["bill", "music", "table", "weather"][i % 4]
            row = {"text": " ".join(random.choices(words, k=4)) + f" \u00e9{i}", "label": label}
            if i % 10 == 8:
                row["label"] = [label, "extra"]
            if i % 10 == 9:
                del row["label"]
            f.write(json.dumps(row) + "\n")
rows("train", 200)
rows("test", 40)
PY
source=(--from jsonl --source set)
fails 64 "'size' belongs to from idx or folder or glyphs, but from is jsonl" "${source[@]}" --size 24
fails 64 "'text-field' belongs to from jsonl or json, but from is tsv" --from tsv --source set \
  --text-field x
fails 64 "'files' belongs to from jsonl or json or tsv, but from is folder" --from folder \
  --source set --files train=x
fails 64 "needs --source" --from jsonl
fails 64 "no such file or folder" --from jsonl --source none
fails 65 "set: no file found" --from tsv --source set
fails 65 "test.jsonl:1: no field 'sentence' (there are: label, text)" "${source[@]}" --text-field sentence
fails 65 "no row has a label (field 'tag'" "${source[@]}" --label-field tag
fails 64 "there is no split 'dev' (there are: train, test)" "${source[@]}" --source-splits dev
fails 64 "there is no split 'dev'" "${source[@]}" --drop-labels dev
fails 64 "source has a test split already" "${source[@]}" --carve test=0.1
fails 64 "nothing is left for train" "${source[@]}" --carve u=0.5,v=0.5
fails 64 "without --classes" "${source[@]}" --unknown-labels drop
fails 64 "--classes none.txt: there is no such file or folder" "${source[@]}" --classes none.txt
printf 'bill\nmusic\ntable\nweather\n' > classes.txt
fails 65 "test.jsonl:9: label 'extra' is not among the 4 classes of classes.txt" \
  "${source[@]}" --classes classes.txt
printf 'bill\nbill\n' > twice.txt
fails 65 "twice.txt" "${source[@]}" --classes twice.txt
printf '{"text": "x", "label": "a"}\n{"text": "y" "label": "a"}\n' > broken.jsonl
fails 65 "broken.jsonl:2: no JSON value" --from jsonl --source broken.jsonl
printf 'caf\351\ta\n' > latin.tsv
fails 65 "latin.tsv:1: byte 4 (.xe9)" --from tsv --source latin.tsv --invalid-utf8 strict
printf 'one\tcaf\351\ntwo\tcaf\350\n' > labels.tsv
fails 65 "labels.tsv:1: the label 'caf.* has bytes that are no UTF-8" --from tsv --source labels.tsv
fails 64 "'strict' belongs to from idx or folder or glyphs, but from is jsonl; remove it, say --invalid-utf8 strict," \
  "${source[@]}" --strict
: > empty.tsv
fails 65 "no sample found" --from tsv --source empty.tsv

"$RETORT" pack "${source[@]}" --out packed --json > packed.json 2> packed.err
[ "$(value packed.json "d['form'], d['classes'], [(s['name'], s['samples'], s['unlabelled'], s['several_labels']) for s in d['splits']]")" = \
  "('text', 5, [('train', 200, 20, 20), ('test', 40, 4, 4)])" ] || { cat packed.json; exit 1; }
"$RETORT" pack "${source[@]}" --out packed > table
grep -q '^train: 20 samples without label$' table && grep -q '^text, 5 classes, digest' table ||
  { cat table; exit 1; }
"$RETORT" check packed > /dev/null
"$RETORT" inspect packed > inspected
for line in 'form .*text' 'bill.*extra.*music.*table.*weather' 'unlabelled' 'several_labels'; do
  grep -Eq "$line" <(tr '\n' ' ' < inspected) || { echo "inspect says no '$line':"; cat inspected; exit 1; }
done
"$RETORT" inspect --json packed > inspected.json
[ "$(value inspected.json "d['examples'][0]['text']")" = \
  "$(python3 -c "import json; print(json.loads(open('set/train.jsonl').readline())['text'])")" ]

printf 'a\033[31mb\n\tx\n' > odd.txt
"$RETORT" pack --from tsv --source odd.txt --columns 1 --label-from none --out odd > /dev/null
"$RETORT" inspect odd | grep -qF 'a\x1b[31mb' || { "$RETORT" inspect odd; exit 1; }

# Classes of another dataset; unknown labels; no label at all.
"$RETORT" pack "${source[@]}" --classes classes.txt --unknown-labels unlabelled --out known --json \
  > known.json 2> known.err
grep -q "24 labels are not in classes.txt, the first is test.jsonl:9: label 'extra'" known.err ||
  { cat known.err; exit 1; }
"$RETORT" pack "${source[@]}" --label-from none --classes known --keep-splits train --out bare --json \
  > bare.json
[ "$(value bare.json "d['class_digest']")" = "$(value known.json "d['class_digest']")" ]
[ "$(value bare.json "[(s['name'], s['samples'], s['unlabelled']) for s in d['splits']]")" = \
  "[('train', 200, 200)]" ]
"$RETORT" pack "${source[@]}" --label-from none --out none --json > none.json
[ "$(value none.json "d['classes'], d['samples']")" = "(0, 240)" ]
"$RETORT" check none > /dev/null
"$RETORT" inspect none > /dev/null

# T and U of one source: disjoint, together all of train, one class list.
cut=("${source[@]}" --carve unlabelled=0.5)
"$RETORT" pack "${cut[@]}" --keep-splits train,test --out T --json > T.json
"$RETORT" pack "${cut[@]}" --drop-labels unlabelled --keep-splits unlabelled --out U --json > U.json
[ "$(value T.json "d['class_digest']")" = "$(value U.json "d['class_digest']")" ]
[ "$(value U.json "[(s['samples'], s['unlabelled']) for s in d['splits']]")" = "[(100, 100)]" ]
[ "$(value T.json "[s['samples'] for s in d['splits']]")" = "[100, 40]" ]

# The same call again is done at once; a row that changed is another source.
"$RETORT" pack "${source[@]}" --out packed --json 2> /dev/null | cmp - packed.json
sed -i '1s/"text": "./"text": "#/' set/train.jsonl
code=0
"$RETORT" pack "${source[@]}" --out packed 2> stderr || code=$?
[ "$code" -eq 64 ] && grep -q 'made with other options or inputs' stderr || { cat stderr; exit 1; }
echo "$cases wrong calls, and texts as they should be"
