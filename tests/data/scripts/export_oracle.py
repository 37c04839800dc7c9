"""Retort's exports against PyTorch and onnxruntime: export_oracle.py out|in|half NAME...

out: NAME/export's model.py and model.onnx give the logits that Retort stored in NAME/logits, to 1e-5
     of their size; safetensors of PyPI writes the same file; timm and torchvision take the tensors
     where they have the model. Then NAME/in gets random tensors made in Python, NAME/want.npy their
     logits.
in:  NAME/in-logits, by Retort, are NAME/want.npy.
half: NAME/half.safetensors, written by "out", is what training started from (NAME/half-export).
"""
import importlib.util
import json
import pathlib
import shutil
import sys

import numpy as np
import onnx
import onnxruntime
import safetensors.torch
import torch

from logit_shard_format import read_logits
from packed_dataset_format import read_split

onnxruntime.set_default_logger_severity(3)
torch.set_num_threads(1)


def loader(folder):
    spec = importlib.util.spec_from_file_location("exported_model", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stored(folder):
    rows = {}
    for path in sorted(folder.glob("pass-00/*.h5")):
        samples, ids, logits, _, _ = read_logits(path)
        for sample, order, row in zip(samples, ids.astype(int), logits):
            rows[int(sample)] = np.empty_like(row)
            rows[int(sample)][order] = row
    assert sorted(rows) == list(range(len(rows))) and rows, folder
    return np.stack([rows[i] for i in range(len(rows))])


def compare(what, got, want, bound=1e-5):
    assert got.shape == want.shape, (what, got.shape, want.shape)
    worst = np.abs(got - want).max() / max(1, np.abs(want).max())
    print(f"{what}: {got.shape[0]} rows, largest difference {worst:.1e}")
    assert np.isfinite(got).all() and np.ptp(want) > 1e-3 and worst < bound, what


def parts(rows, sizes=(1, 7, 64)):
    """Batches of several sizes: the batch is a free dimension."""
    begin, i = 0, 0
    while begin < len(rows):
        size = sizes[min(i, len(sizes) - 1)]
        yield rows[begin:begin + size]
        begin, i = begin + size, i + 1


def run(module, net, samples):
    with torch.no_grad():
        return np.concatenate([net(module.preprocess(part)).numpy() for part in parts(samples)])


def run_onnx(module, path, samples):
    graph = onnx.load(str(path))
    onnx.checker.check_model(graph, full_check=True)
    assert json.loads({p.key: p.value for p in graph.metadata_props}["class_names"]) == module.labels
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    results = []
    for part in parts(samples):
        x = module.preprocess(part)
        feed = {"pixels": x.numpy()} if torch.is_tensor(x) else {"ids": module.padded(x).numpy()}
        results.append(session.run(["logits"], feed)[0])
    return np.concatenate(results)


def peer(module):
    """The same architecture by its own library."""
    name, size, options = module.description["name"], module.description["input"], module.description["options"]
    if options.get("logit-form") == "cosine":
        return None  # theirs end in a linear layer
    if name in ("resnet18", "resnet50") and options["stem"] == "imagenet" and options["width"] == "64":
        import torchvision
        net = getattr(torchvision.models, name)(num_classes=len(module.labels))
        net.conv1 = torch.nn.Conv2d(size["channels"], 64, 7, 2, 3, bias=False)
        return net
    if name.startswith("deit_"):
        import timm
        return timm.create_model(name + "_patch16_224", img_size=size["height"],
                                 patch_size=int(options["patch"]), depth=int(options["depth"]),
                                 embed_dim=int(options["width"]), num_heads=int(options["heads"]),
                                 in_chans=size["channels"], num_classes=len(module.labels))
    return None


def random_tensors(state):
    torch.manual_seed(7)
    made = {}
    for name, tensor in state.items():
        made[name] = torch.randn(tensor.shape) * (0.5 / max(1, tensor[0].numel()) ** 0.5)
        if name.endswith("running_var"):
            made[name] = torch.rand(tensor.shape) + 0.5
        elif tensor.dim() == 1 and name.endswith("weight"):
            made[name] = torch.rand(tensor.shape) + 0.5
    return made


def outwards(name):
    folder = pathlib.Path(name)
    module = loader(folder / "export")
    samples = [sample for sample, _ in read_split(module_data(module), "test")]
    want = stored(folder / "logits")
    net = module.load()
    compare(f"{name} in Python", run(module, net, samples), want)
    path = folder / "export" / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    assert safetensors.torch.save(tensors, {"format": "pt"}) == path.read_bytes(), "other bytes"
    if (folder / "export" / "model.onnx").exists():
        compare(f"{name} in onnxruntime", run_onnx(module, folder / "export" / "model.onnx", samples), want)
    other = peer(module)
    if other is not None:
        missing, extra = other.load_state_dict(tensors, strict=False)
        assert not extra and all("num_batches_tracked" in key for key in missing), (missing, extra)
        compare(f"{name} in its library", run(module, other.eval(), samples), want)
    # Back: tensors made here, saved by PyTorch's own way, counters and all.
    net.load_state_dict(random_tensors(tensors))
    (folder / "in").mkdir()
    shutil.copy(folder / "export" / "model.json", folder / "in")
    safetensors.torch.save_model(net, str(folder / "in" / "model.safetensors"))
    np.save(folder / "want.npy", run(module, net, samples))
    kinds = [torch.float16, torch.bfloat16, torch.float64]
    half = {key: value.to(kinds[i % 3]) for i, (key, value) in enumerate(net.state_dict().items())
            if "num_batches_tracked" not in key}
    half["bn1.num_batches_tracked"] = torch.tensor(3)
    safetensors.torch.save_file(half, folder / "half.safetensors")


def module_data(module):
    return "texts" if module.description.get("text") else "data"


def inwards(name):
    folder = pathlib.Path(name)
    compare(f"{name} from Python", stored(folder / "in-logits"), np.load(folder / "want.npy"))


def started(name):
    folder = pathlib.Path(name)
    given = safetensors.torch.load_file(folder / "half.safetensors")
    got = safetensors.torch.load_file(folder / "half-export" / "model.safetensors")
    assert set(got) == {key for key in given if "num_batches_tracked" not in key}
    assert {str(given[key].dtype) for key in got} == {"torch.float16", "torch.bfloat16", "torch.float64"}
    for key, tensor in got.items():  # the step moves statistics, and parameters by 1e-30 at most
        if "running" not in key:
            torch.testing.assert_close(tensor, given[key].float(), rtol=0, atol=1e-29)
    print(f"{name}: trained from {len(got)} tensors of three types")


for name in sys.argv[2:]:
    {"out": outwards, "in": inwards, "half": started}[sys.argv[1]](name)
