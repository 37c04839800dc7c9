"""The other side of image_models_test.sh.

  image_models.py pictures FOLDER             writes pictures of 6 classes
  image_models.py random NAME MODEL OUT       a model folder like MODEL with random weights of torch
  image_models.py logits NAME DATA MODEL LOGITS MODEL LOGITS...
                                              compares captured logits with those of the peer
"""
import hashlib
import json
import pathlib
import shutil
import struct
import sys

import h5py
import numpy as np
import torch
from torch import nn

BOUND = 1e-5  # largest difference of two logits by the largest logit of all pictures


class IBasicBlock(nn.Module):
    """As in InsightFace's recognition/arcface_torch/backbones/iresnet.py."""

    def __init__(self, inputs, planes, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs, eps=1e-5)
        self.conv1 = nn.Conv2d(inputs, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes, eps=1e-5)
        self.prelu = nn.PReLU(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes, eps=1e-5)
        self.downsample = None
        if stride != 1 or inputs != planes:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, planes, 1, stride, bias=False),
                                            nn.BatchNorm2d(planes, eps=1e-5))

    def forward(self, x):
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        y = self.bn3(self.conv2(y))
        return y + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    """InsightFace's backbone, and a head that makes logits of the embedding."""

    def __init__(self, layers, side, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64, eps=1e-5)
        self.prelu = nn.PReLU(64)
        inputs = 64
        for group, count in enumerate(layers):
            planes, blocks = 64 << group, []
            for i in range(count):
                blocks.append(IBasicBlock(inputs, planes, 2 if i == 0 else 1))
                inputs = planes
            setattr(self, f"layer{group + 1}", nn.Sequential(*blocks))
        self.bn2 = nn.BatchNorm2d(512, eps=1e-5)
        self.dropout = nn.Dropout(0, inplace=True)
        self.fc = nn.Linear(512 * (side // 16) ** 2, 512)
        self.features = nn.BatchNorm1d(512, eps=1e-5)
        self.features.weight.requires_grad = False
        self.head = nn.Linear(512, classes, bias=False)

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        x = self.fc(self.dropout(torch.flatten(self.bn2(x), 1)))
        return self.head(self.features(x))


def build(description):
    name, options = description["name"], description["options"]
    classes, side = len(description["class_names"]), description["input"]["height"]
    if name.startswith("resnet"):
        import torchvision
        model = getattr(torchvision.models, name)(num_classes=classes)
        if options.get("stem") == "small":
            model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
            model.maxpool = nn.Identity()
        return model
    if name.startswith("iresnet"):
        layers = {"18": [2, 2, 2, 2], "34": [3, 4, 6, 3], "50": [3, 4, 14, 3]}[name[7:]]
        return IResNet(layers, side, classes)
    import timm
    patch = int(options["patch"])
    return timm.create_model(f"{name}_patch16_224", img_size=side, patch_size=patch,
                             num_classes=classes)


def write_pictures(folder):
    from PIL import Image
    random = np.random.default_rng(1)
    for kind in range(6):
        path = pathlib.Path(folder, f"class{kind}")
        path.mkdir(parents=True)
        for i in range(4):
            small = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(small).resize((224, 224), Image.BICUBIC).save(path / f"{i}.png")


def names_of(model):
    """Everything of its state that has a place in a model folder."""
    return {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}


def write_random(folder, out):
    """The folder's description with weights that torch drew, statistics away from 0 and 1, too."""
    from model_format import canonical, read_manifest, read_model, tensor_digest
    description, tensors = read_model(folder)
    torch.manual_seed(5)
    model = build(description)
    for name, value in names_of(model).items():
        if name.endswith("running_mean") or (value.ndim == 1 and name.endswith(".bias")):
            value.copy_(0.1 * torch.randn_like(value))
        elif value.ndim == 1:
            value.copy_(0.5 + torch.rand_like(value))
    state = {k: v.numpy() for k, v in names_of(model).items()}
    assert state.keys() == tensors.keys(), sorted(state.keys() ^ tensors.keys())
    assert all(state[k].shape == tensors[k].shape for k in state)
    shutil.copytree(folder, out)
    manifest = read_manifest(folder)
    for member in manifest["members"]:
        path = pathlib.Path(out, member["name"])
        if path.suffix == ".h5":
            with h5py.File(path, "r+") as file:
                for name, value in state.items():
                    for offset in file.get(f"tensors/{name}", {}):
                        part = file[f"tensors/{name}/{offset}"]
                        begin = int(offset)
                        part[...] = value.reshape(-1)[begin:begin + part.size].reshape(part.shape)
        data = path.read_bytes()
        member["size"], member["sha256"] = len(data), hashlib.sha256(data).hexdigest()
    text = canonical(description).encode()
    manifest["content_digest"] = hashlib.sha256(
        struct.pack("<Q", len(text)) + text + tensor_digest(state).encode()).hexdigest()
    manifest["checksum"] = hashlib.sha256(canonical(manifest).encode()).hexdigest()
    text = json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    pathlib.Path(out, "manifest.json").write_text(text, encoding="utf-8")
    read_model(out)


def compare_logits(name, data, folder, logits):
    from logit_shard_format import read_logits
    from model_format import read_model
    from packed_dataset_format import read_split
    description, tensors = read_model(folder)
    model = build(description)
    state = {k: torch.from_numpy(v) for k, v in tensors.items()}
    result = model.load_state_dict(state, strict=False)
    assert not result.unexpected_keys, result
    assert all(k.endswith("num_batches_tracked") for k in result.missing_keys), result
    model.eval()
    pictures = np.stack([picture for picture, _ in read_split(data, "train")])
    scale = description["scale"]
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(255)
    x = (x - scale["mean"][0]) / scale["deviation"][0]
    with torch.no_grad():
        want = torch.cat([model(part) for part in x.split(6)]).numpy()
    got = np.full_like(want, np.nan)
    for path in sorted(pathlib.Path(logits, "pass-00").glob("*.h5")):
        samples, ids, values, _, _ = read_logits(path)
        for sample, row_ids, row in zip(samples, ids, values):
            got[sample, row_ids.astype(int)] = row
    error = np.abs(want - got).max() / np.abs(want).max()
    spread = want.std(0).max() / np.abs(want).max()
    print(f"{name}, {folder}: {len(want)} pictures, largest difference {error:.1e} of the largest "
          f"logit, logits spread by {spread:.1e} of it")
    assert error < BOUND, error
    assert spread > 100 * BOUND, "the pictures hardly matter: nothing was compared"


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    command, *arguments = sys.argv[1:]
    if command == "pictures":
        write_pictures(*arguments)
    elif command == "random":
        write_random(*arguments[1:])
    else:
        name, data, *folders = arguments
        for folder, logits in zip(folders[::2], folders[1::2], strict=True):
            compare_logits(name, data, folder, logits)
