#!/usr/bin/env bash
# A student out of Retort: on the whole test split of MNIST, 10,000 pictures, the exported network in
# Python and the ONNX file in onnxruntime name the same class as Retort for every single one.
. "$RETORT_SOURCE/tests/unit/scripts/strict.sh"
if ! unpacked=$(bash "$RETORT_SOURCE/scripts/unpack-data" mnist); then
  echo "skipped: no archive of mnist in RETORT_DATA"
  exit 77
fi
python=$("$RETORT_SOURCE/scripts/peers") || { code=$?; echo "$python"; exit $code; }
quietly pack --from idx --source "$unpacked/mnist" --out data
quietly train --data data --model convnet --channels 16,32,64 --strides 2,2,2 --batch 128 --steps 120 \
  --learning-rate 0.3 --pixel-mean 0.1307 --pixel-deviation 0.3081 --out student
retort evaluate --data data --model student --predictions predictions.jsonl --json >score.json 2>/dev/null
quietly export --model student --format safetensors,onnx --out export

cat >compare.py <<'PYTHON'
import gzip, json, pathlib, sys
import numpy as np, onnxruntime, torch

source = pathlib.Path(sys.argv[1])
def idx(name, offset):
    path = next(p for p in source.iterdir() if p.name.startswith(name))
    data = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    return np.frombuffer(data, np.uint8, offset=offset)
# The source's own files, in their own order.
pictures = idx("t10k-images", 16).reshape(-1, 28, 28)
gold = idx("t10k-labels", 8)
lines = [json.loads(line) for line in open("predictions.jsonl", encoding="utf-8")]
assert [line["sample"] for line in lines] == list(range(10000)) and len(pictures) == 10000
assert [line["labels"] for line in lines] == [[str(label)] for label in gold]

sys.path.insert(0, "export")
import model
net = model.load()
session = onnxruntime.InferenceSession("export/model.onnx", providers=["CPUExecutionProvider"])
scores, graph = [], []
with torch.no_grad():
    for begin in range(0, 10000, 500):
        x = model.preprocess(pictures[begin:begin + 500])
        scores.append(torch.softmax(net(x), 1))
        graph.append(session.run(["logits"], {"pixels": x.numpy()})[0])
scores, graph = torch.cat(scores).numpy(), np.concatenate(graph)
retort = [line["best"][0]["name"] for line in lines]
assert retort == [model.labels[i] for i in scores.argmax(1)], "Python names other classes"
assert retort == [model.labels[i] for i in graph.argmax(1)], "onnxruntime names other classes"
first = np.array([line["best"][0]["probability"] for line in lines])
worst = np.abs(first - scores.max(1)).max()
right = (scores.argmax(1) == gold).mean()
score = json.load(open("score.json"))
assert worst < 1e-5 and abs(score["top1"] - right) < 1e-9 and right > 0.8, (worst, right, score)
print(f"10000 of 10000 with the same top-1 ({right:.4f} right), probabilities within {worst:.1e}")
PYTHON
"$python" -W ignore compare.py "$unpacked/mnist"
