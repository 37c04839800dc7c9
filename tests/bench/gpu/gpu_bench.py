#!/usr/bin/env python3
"""Retort on a GPU against PyTorch on the same one: one JSON line per case. Needs a GPU, the preset
cuda (build/cuda/bin/retort, or RETORT) and the peers of scripts/peers.

student_step: resnet20 on 32x32 pictures, batch 256, SGD with momentum, fp32 without TF32.
teach: resnet50 on 224x224 pictures in bf16, top-20.

Each time is the difference between a long and a short run, so that starting up does not count.
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
RETORT = os.environ.get("RETORT", str(ROOT / "build/cuda/bin/retort"))
THREADS = str(min(16, os.cpu_count() or 1))


def retort(*arguments):
    done = subprocess.run([RETORT, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"retort {arguments[0]} ended with {done.returncode}")
    return done.stdout


def write_pictures(folder, side, classes, each):
    generator = random.Random(1)
    for label in range(classes):
        into = folder / f"class-{label:03}"
        into.mkdir(parents=True)
        for number in range(each):
            header = f"P6\n{side} {side}\n255\n".encode()
            (into / f"{number:04}.ppm").write_bytes(header + generator.randbytes(3 * side * side))


def pack(work, name, side, classes, each):
    write_pictures(work / f"{name}-source", side, classes, each)
    retort("pack", "--from", "folder", "--source", work / f"{name}-source", "--split", "train=rest",
           "--out", work / name)
    return work / name


def seconds_between(run, short, long):
    """Per unit: the time of a run of `long` units less that of one of `short`."""
    times = {}
    for units in (short, long):
        start = time.perf_counter()
        run(units)
        times[units] = time.perf_counter() - start
    return (times[long] - times[short]) / (long - short)


def torch_resnet20(torch, classes):
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.stride, self.more = stride, outputs - inputs

        def forward(self, x):
            y = F.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            if self.stride != 1:
                x = x[:, :, ::2, ::2]
            if self.more:
                x = F.pad(x, (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))
            return F.relu(x + y)

    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    width = 16
    for group, outputs in enumerate((16, 32, 64)):
        for block in range(3):
            layers.append(Block(width, outputs, 2 if group and not block else 1))
            width = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def torch_resnet50(torch, classes):
    nn = torch.nn

    def convolution(inputs, outputs, side, stride=1):
        return [nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False),
                nn.BatchNorm2d(outputs)]

    class Bottleneck(nn.Module):
        def __init__(self, inputs, width, stride):
            super().__init__()
            self.path = nn.Sequential(
                *convolution(inputs, width, 1), nn.ReLU(inplace=True),
                *convolution(width, width, 3, stride), nn.ReLU(inplace=True),
                *convolution(width, 4 * width, 1))
            same = stride == 1 and inputs == 4 * width
            self.shortcut = nn.Sequential(
                *([] if same else convolution(inputs, 4 * width, 1, stride)))

        def forward(self, x):
            return torch.relu_(self.path(x).add_(self.shortcut(x)))

    layers = [*convolution(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for group, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << group
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, 2 if group and not block else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def torch_step_seconds(torch, compiled):
    torch.manual_seed(1)
    model = torch_resnet20(torch, 10).cuda().to(memory_format=torch.channels_last)
    forward = torch.compile(model, mode="reduce-overhead") if compiled else model
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    pixels = [torch.randn(256, 3, 32, 32).pin_memory() for _ in range(8)]
    labels = [torch.randint(0, 10, (256,)).pin_memory() for _ in range(8)]

    def run(steps):
        for step in range(steps):
            x = pixels[step % 8].cuda(non_blocking=True).to(memory_format=torch.channels_last)
            y = labels[step % 8].cuda(non_blocking=True)
            loss = torch.nn.functional.cross_entropy(forward(x), y)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        torch.cuda.synchronize()

    run(30)
    return seconds_between(run, 50, 550)


def student_step(torch, work):
    data = pack(work, "small", 32, 10, 512)

    def run(steps):
        out = work / f"student-{steps}"
        retort("train", "--data", data, "--model", "resnet20", "--batch", 256, "--steps", steps,
               "--evaluate-every", 10**6, "--checkpoint-minutes", 0, "--device", "cuda",
               "--loader-threads", 4, "--out", out, "--threads", THREADS)

    ours = seconds_between(run, 100, 2100)
    eager, compiled = torch_step_seconds(torch, False), torch_step_seconds(torch, True)
    return {"bench": "gpu", "case": "student_step resnet20 batch 256", "ms": 1e3 * ours,
            "ms_eager": 1e3 * eager, "ms_compiled": 1e3 * compiled, "speedup_eager": eager / ours,
            "speedup_compiled": compiled / ours, "dtype": "fp32"}


def teach(torch, work):
    data = pack(work, "large", 224, 100, 82)
    shorter = pack(work, "larger-by-less", 224, 100, 21)
    for name in (data, shorter):
        retort("train", "--data", name, "--model", "resnet50", "--batch", 32, "--steps", 1,
               "--evaluate-every", 10**6, "--device", "cuda", "--out", f"{name}-teacher")

    shares = []

    def run(samples):
        name = data if samples > 5000 else shorter
        out = work / f"logits-{samples}"
        retort("teach", "--data", name, "--model", f"{name}-teacher", "--top-k", 20, "--batch", 256,
               "--precision", "bf16", "--device", "cuda", "--threads", THREADS, "--out", out)
        mean = json.loads((out / "results.json").read_text())["time"]["mean"]
        shares.append(mean.get("top-k", 0) / mean["wall"])

    ours = seconds_between(run, 2100, 8200)
    model = torch_resnet50(torch, 100).cuda().eval()
    model = model.to(memory_format=torch.channels_last)
    pixels = torch.randn(256, 3, 224, 224).pin_memory()

    def peer(batches):
        with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
            for _ in range(batches):
                x = pixels.cuda(non_blocking=True).to(memory_format=torch.channels_last)
                model(x).float()
        torch.cuda.synchronize()

    peer(5)
    theirs = seconds_between(peer, 5, 35) / 256
    return {"bench": "gpu", "case": "teach resnet50 224x224 bf16 top-20", "samples_per_s": 1 / ours,
            "samples_per_s_torch": 1 / theirs, "speedup": theirs / ours,
            "share_encoding": shares[-1], "dtype": "bf16"}


def main():
    try:
        import torch
    except ImportError:
        raise SystemExit("gpu_bench.py: run it with the Python that scripts/peers prints")
    if not torch.cuda.is_available():
        raise SystemExit("gpu_bench.py: there is no GPU here")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    for case in (student_step, teach):
        with tempfile.TemporaryDirectory() as work:
            line = case(torch, pathlib.Path(work))
        line["gpu"] = torch.cuda.get_device_name()
        print(json.dumps({key: round(value, 4) if isinstance(value, float) else value
                          for key, value in line.items()}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
