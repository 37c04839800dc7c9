#!/usr/bin/env bash
# A conv net exported from Python as docs/torchscript.md says (its Python runs as printed there), its
# logits of a whole split captured by Retort: within 1e-4 of Python's, the same bytes on 1 and 2
# ranks and with 2 threads, traced or scripted, through a class map, and every bad file refused.
. "$RETORT_SOURCE/tests/unit/scripts/strict.sh"
python=$("$RETORT_SOURCE/scripts/peers") || { code=$?; echo "$python"; exit $code; }
for page in torchscript packed_dataset_format logit_shard_format; do
  sed -n '/^```python$/,/^```$/{/^```/d;p}' "$RETORT_SOURCE/docs/$page.md" >"$page.py"
done
quietly pack --from glyphs --characters 20 --out data
quietly pack --from glyphs --characters 30 --out other

cat >export.py <<'PYTHON'
import json, torch
from torch import nn
from packed_dataset_format import class_names, read_split
from torchscript import save_teacher

torch.manual_seed(1)
names = class_names("data")
height, width, channels = next(read_split("data", "train"))[0].shape
net = nn.Sequential(nn.Conv2d(channels, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Dropout(0.3),
                    nn.Conv2d(12, 24, 3, stride=2), nn.BatchNorm2d(24), nn.ReLU(),
                    nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, len(names)))
net.train()
for _ in range(3):
    net(torch.randn(16, channels, height, width))  # running statistics of its own
torch.save(net, "net.pth")
save_teacher(net, "teacher.pt", names, [0.4], [0.3], channels, height, width)

def save(module, path, about=None, script=True, example=torch.zeros(2, channels, height, width)):
    made = torch.jit.script(module) if script else torch.jit.trace(module, example)
    torch.jit.save(made, path, _extra_files={"retort.json": json.dumps(about)} if about else {})

save(net, "bare.pt")
open("names.txt", "w", encoding="utf-8").write("".join(n + "\n" for n in names))
order = torch.randperm(len(names))
class Turned(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.order = net, order
    def forward(self, x):
        return self.net(x)[:, self.order]
save_teacher(Turned(), "turned.pt", ["own " + names[i] for i in order], [0.4], [0.3], channels, height, width)
lines = [f"own {names[i]}\t{names[i]}\n" for i in order]
open("map.tsv", "w", encoding="utf-8").write("# theirs, ours\n\n" + "".join(sorted(lines)))
open("short.tsv", "w", encoding="utf-8").write("".join(lines[1:]))
open("double.tsv", "w", encoding="utf-8").write("".join(lines) + lines[0])
open("foreign.tsv", "w", encoding="utf-8").write("".join(lines[1:]) + f"nobody\t{names[order[0]]}\n")
open("columns.tsv", "w", encoding="utf-8").write("".join(lines[1:]) + f"own {names[order[0]]}\n")

about = {"class_names": names, "scale": {"mean": [0.5], "deviation": [0.5]}}
class Two(nn.Module):
    def forward(self, x, y):
        return x + y
class Pair(nn.Module):
    def forward(self, x):
        return x, x
class Image(nn.Module):
    def forward(self, x):
        return x
class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net
    def forward(self, x):
        return self.net(x).double()
class Batch(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net
    def forward(self, x):
        return self.net(x - x.mean(0, keepdim=True))
class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net
    def forward(self, x):
        return nn.functional.dropout(self.net(x), 0.5, True)
class Device(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net
    def forward(self, x):
        return self.net(x.to("cuda")).cpu()
class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.calls = net, 0
    def forward(self, x):
        self.calls += 1
        return self.net(x)
class Fixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net
    def forward(self, x):
        return self.net(x).view(2, -1)
for module in (Two, Pair, Image, Half, Batch, Noisy, Device, Counting, Fixed):
    save(module().eval(), module.__name__.lower() + ".pt", about)
save(net, "unknown.pt", {**about, "classes": names})
save(net, "no_json.pt", {**about, "scale": 7})
save(net, "plain_numbers.pt", {"class_names": names, "scale": {"mean": 0.4, "deviation": 0.3}})
save(net, "texts.pt", {**about, "scale": {"mean": "0.4", "deviation": 0.3}})
save(net, "doubled.pt", {**about, "class_names": names[:-1] + names[:1]})
save(net, "other_size.pt", {**about, "input": {"height": 9, "width": 9, "channels": 1}})
save(net, "deviation.pt", {**about, "scale": {"mean": [0.5], "deviation": [0]}})
save(net, "fewer.pt", {**about, "class_names": names[1:]})
save(net, "reversed.pt", {**about, "class_names": names[::-1]})
with torch.no_grad():
    net[9].weight[3, 5] = float("nan")
save(net, "nan.pt", about)
torch.save({"weight": torch.ones(3)}, "state.pt")
PYTHON
PYTHONPATH=$work "$python" -W ignore export.py

teach=(teach --data data --top-k 20 --ids u32 --stored-precision fp32)
quietly "${teach[@]}" --model teacher.pt --out logits
quietly -n 2 "${teach[@]}" --model teacher.pt --out two
quietly "${teach[@]}" --model teacher.pt --threads 2 --out threads
quietly "${teach[@]}" --model bare.pt --classes names.txt --pixel-mean 0.4 --pixel-deviation 0.3 --out bare
quietly "${teach[@]}" --model plain_numbers.pt --out plain
quietly "${teach[@]}" --model turned.pt --class-map map.tsv --out mapped
for run in two threads; do
  diff -r logits/pass-00 $run/pass-00 || fail "$run: other bytes"
done
retort evaluate --data data --model teacher.pt --json >score.json
retort evaluate --data data --model turned.pt --class-map map.tsv --json >mapped.json
# In bf16, under PyTorch's rules for it: other logits, scores as good; the same bits on two ranks.
quietly "${teach[@]}" --model teacher.pt --precision bf16 --out low
quietly -n 2 "${teach[@]}" --model teacher.pt --precision bf16 --threads 2 --out low-two
[ "$(retort inspect --digest low)" != "$(retort inspect --digest logits)" ] || fail "bf16 changes nothing"
[ "$(retort inspect --digest low)" = "$(retort inspect --digest low-two)" ] || fail "bf16 depends on ranks"
retort evaluate --data data --model teacher.pt --precision bf16 --json >low.json
loss() { sed 's/.*"loss":\([0-9.e-]*\).*/\1/' "$1"; }
awk -v a="$(loss score.json)" -v b="$(loss low.json)" \
  'BEGIN { d = a - b; if (d < 0) d = -d; exit !(d > 0 && d < 0.02 * a) }' ||
  fail "loss $(loss low.json) in bf16, $(loss score.json) in fp32"

cat >compare.py <<'PYTHON'
import json, pathlib, sys
import numpy as np, torch
from logit_shard_format import read_logits
from packed_dataset_format import read_split

net = torch.load("net.pth", weights_only=False).eval()
def python_logits(split):
    images, labels = zip(*read_split("data", split))
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div(255).sub(0.4).div(0.3)
    with torch.no_grad():
        return torch.cat([net(part) for part in x.split(500)]).numpy(), np.array([l[0] for l in labels])
want, _ = python_logits("train")
for folder in sys.argv[1:]:
    worst, rows = 0.0, 0
    for path in sorted(pathlib.Path(folder, "pass-00").glob("*.h5")):
        samples, ids, logits, _, _ = read_logits(path)
        assert (np.sort(ids, axis=1) == np.arange(want.shape[1])).all()
        worst = max(worst, np.abs(np.take_along_axis(want[samples], ids.astype(int), 1) - logits).max())
        rows += len(samples)
    assert rows == len(want) > 0, rows
    print(f"{folder}: {rows} rows, largest difference {worst:.2e}")
    assert worst < 1e-4, worst
test, labels = python_logits("test")
for name in ("score.json", "mapped.json"):
    score = json.load(open(name))
    assert score["samples"] == len(labels)
    assert abs(score["top1"] - (test.argmax(1) == labels).mean()) < 1e-9, score
assert score["parameters"] == sum(p.numel() for p in net.parameters())
PYTHON
PYTHONPATH=$work "$python" compare.py logits bare plain mapped
retort inspect mapped | grep -q class_map || fail "the facts do not name the class map"

bad() { refuse "$1" "$2" retort teach --data data --top-k 5 --model "${@:3}" --out refused; }
bad 65 "is no TorchScript file" state.pt
head -c 2000 teacher.pt >cut.pt
bad 65 "the file is damaged" cut.pt
# One byte of a weight that is another one: named by the member that holds it.
python3 - <<'PYTHON'
import zipfile
data = bytearray(open("teacher.pt", "rb").read())
member = max((m for m in zipfile.ZipFile("teacher.pt").infolist() if "/data/" in m.filename),
             key=lambda m: m.file_size)
data[member.header_offset + 128 + member.file_size // 2] ^= 0x40
open("flipped.pt", "wb").write(data)
assert zipfile.ZipFile("flipped.pt").testzip() == member.filename
PYTHON
bad 65 "CRC error: the file is damaged" flipped.pt
bad 65 "is no TorchScript file, and models of Retort are folders" names.txt
bad 65 "is no TorchScript file, and models of Retort are folders" logits/manifest.json
bad 64 "there is no such file" nowhere.pt
bad 65 "tensor 9.weight has values that are NaN or infinite" nan.pt
bad 65 "takes 2 arguments" two.pt
bad 65 "one tensor" pair.pt
bad 65 "logits [n, classes]" image.pt
bad 65 "type Double" half.pt
bad 65 "depend on the others" batch.pt
bad 65 "other logits each time" noisy.pt
bad 65 "CUDA" device.pt
bad 65 "writes attributes" counting.pt
bad 65 "[2, 10] for a batch of 1" fixed.pt
bad 65 "field 'classes'" unknown.pt
bad 65 "retort.json inside: field 'scale' must be an object" no_json.pt
bad 65 "retort.json inside: field 'scale.mean' must be a number" texts.pt
bad 65 "class_names: 19 and 0 (counted from 0) are both '" doubled.pt
bad 65 "takes pictures of 9x9x1" other_size.pt
bad 65 "deviation" deviation.pt
bad 65 "logits of 20 classes where 19" fewer.pt
bad 65 "--class-map" reversed.pt
bad 65 "--classes FILE" bare.pt
bad 65 "--pixel-mean" bare.pt --classes names.txt
bad 65 "2 values" bare.pt --classes names.txt --pixel-mean 0.4,0.5 --pixel-deviation 0.3
bad 65 "--class-map" turned.pt
bad 65 "are not mapped, first 'own" turned.pt --class-map short.tsv
bad 65 "mapped in line 1 already" turned.pt --class-map double.tsv
bad 65 "foreign.tsv:20: 'nobody' is no class of the model" turned.pt --class-map foreign.tsv
bad 65 "columns.tsv:20: two columns" turned.pt --class-map columns.tsv
refuse 65 "30" retort teach --data other --top-k 5 --model teacher.pt --out refused
refuse 65 "CUDA" retort -n 2 teach --data data --top-k 5 --model device.pt --out refused
echo "$cases bad files refused"
