#!/usr/bin/env bash
# Every architecture out of Retort and into Python and onnxruntime, and Python's tensors back into
# Retort: logits within 1e-5 (export_oracle.py). A training starts from a file of F16, BF16 and F64.
. "$RETORT_SOURCE/tests/unit/scripts/strict.sh"
python=$("$RETORT_SOURCE/scripts/peers") || { code=$?; echo "$python"; exit $code; }
for page in packed_dataset_format logit_shard_format; do
  sed -n '/^```python$/,/^```$/{/^```/d;p}' "$RETORT_SOURCE/docs/$page.md" >"$page.py"
done
oracle() { PYTHONPATH=$work "$python" -W ignore "$RETORT_SOURCE/tests/data/scripts/export_oracle.py" "$@"; }

quietly pack --from glyphs --characters 6 --size 32 --test-fonts NotoSans-Regular,FreeSerif --out data
known=$(retort train --data data --model nonsense --out refused 2>&1 | sed -n 's/.*known models: //p') || true
knows() { [[ ", $known," == *" $1,"* ]]; }
text=no
if knows bag; then
  text=yes
  "$python" - <<'PYTHON'
import json, random
random.seed(3)
words = ["a", "to", "über", "déjà", "東京", "hello", "don't", "x1", "\u00a0", "🙂", "ﬀ", "1234567890"]
with open("texts.jsonl", "w", encoding="utf-8") as file:
    for i in range(240):
        text = " ".join(random.choice(words) + random.choice(["", "", "s", "\t", "é"]) for _ in range(i % 17))
        row = {"text": text, "label": "abcdef"[i % 6], "split": "test" if i % 3 == 0 else "train"}
        file.write(json.dumps(row, ensure_ascii=i % 2 == 0) + "\n")
PYTHON
  mkdir texts-source && mv texts.jsonl texts-source
  quietly pack --from jsonl --source texts-source --split-field split --out texts
fi

names=()
covered=" "
# NAME FORMATS MODEL OPTIONS...: trains two steps, exports, and stores all logits of split test.
export_case() {
  local name=$1 formats=$2 model=$3 data=data
  shift 3
  covered+="$model "
  knows "$model" || return 0
  case $model in bag | textcnn) data=texts ;; esac
  names+=("$name")
  quietly train --data $data --model "$model" "$@" --batch 16 --steps 2 --learning-rate 0.02 --out "$name"
  quietly export --model "$name" --format "$formats" --out "$name/export"
  quietly teach --data $data --split test --model "$name" --top-k 6 --ids u32 --stored-precision fp32 --out "$name/logits"
}
both=safetensors,onnx
export_case mlp $both mlp --hidden 16,12
export_case mlp-norm $both mlp --hidden 16 --batch-norm
export_case convnet $both convnet --channels 8,12,9 --strides 2,1,3 --dropout 0.2
export_case resnet20 $both resnet20 --width 5
export_case resnet20-projection $both resnet20 --width 4 --shortcut projection
export_case resnet56 $both resnet56 --width 3
export_case resnet18 $both resnet18
export_case resnet18-small $both resnet18 --width 4 --stem small
export_case resnet50 $both resnet50
export_case iresnet18 $both iresnet18 --width 4 --embedding 8
export_case iresnet34 $both iresnet34 --width 4 --embedding 8
export_case iresnet50 $both iresnet50 --width 4 --embedding 8
export_case deit_tiny safetensors deit_tiny --patch 8 --width 24 --depth 2
export_case deit_small safetensors deit_small --patch 8 --width 12 --depth 1 --heads 2
export_case mlp-cosine $both mlp --hidden 16 --logit-form cosine --logit-scale 7
export_case iresnet18-cosine $both iresnet18 --width 4 --embedding 8 --logit-form cosine
export_case deit_tiny-cosine safetensors deit_tiny --patch 8 --width 12 --depth 1 --logit-form cosine
export_case bag-cosine $both bag --buckets 64 --dim 8 --logit-form cosine --logit-scale 20
export_case bag $both bag --buckets 1000 --dim 8
export_case bag-hidden $both bag --buckets 64 --unit character --ngrams 3 --limit 9 --dim 8 --hidden 5
export_case textcnn $both textcnn --buckets 500 --dim 8 --filters 6 --widths 2,5
export_case textcnn-characters $both textcnn --buckets 64 --unit character --limit 5 --dim 4 --filters 3 --widths 3
for model in ${known//,/ }; do
  [[ $covered == *" $model "* ]] || fail "no case for model $model"
done

oracle out "${names[@]}"
for name in "${names[@]}"; do
  data=data
  case $name in bag* | textcnn*) data=texts ;; esac
  quietly teach --data $data --split test --model "$name/in" --top-k 6 --ids u32 --stored-precision fp32 --out "$name/in-logits"
done
oracle in "${names[@]}"

quietly train --data data --model convnet --channels 8,12,9 --strides 2,1,3 --batch 16 --steps 1 --learning-rate 1e-30 \
  --init convnet/half.safetensors --out half
quietly export --model half --out convnet/half-export
oracle half convnet

if knows deit_tiny; then
  refuse 64 "does not write as ONNX" retort export --model deit_tiny --format onnx --out refused
  [ ! -e refused ] || fail "files of what was refused"
fi
echo "${#names[@]} models both ways, $cases refused"
