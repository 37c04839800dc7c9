"""Lets image_models_bench and PyTorch eager run the same models in turns.

  python3 image_models.py PROGRAM [--rounds N] [--only NAME]

Prints one JSON line per case. PyTorch is that of scripts/peers (LibTorch in .deps has no Python parts).
"""
import argparse
import ctypes
import json
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
# name, side, batch, classes, options here, the peer's arguments
CASES = [("resnet18", 32, 32, 100, "stem=small"), ("iresnet18", 112, 8, 500, ""),
         ("deit_tiny", 32, 32, 100, "patch=4")]


def keep_heap():
    """The allocator setting of core/heap.cpp."""
    libc = ctypes.CDLL(None)
    for parameter, value in ((-4, 0), (-1, -1), (-2, 64 << 20), (-8, 1)):
        libc.mallopt(parameter, value)


class Peer:
    """PyTorch's model of a case, in one memory format."""

    def __init__(self, name, side, batch, classes, options, memory_format):
        import torch
        sys.path.insert(0, str(ROOT / "tests/data/scripts"))
        import image_models
        torch.manual_seed(1)
        description = {"name": name, "class_names": [None] * classes, "input": {"height": side},
                       "options": dict(word.split("=") for word in options.split())}
        self.torch = torch
        self.model = image_models.build(description).to(memory_format=memory_format)
        self.input = torch.randn(batch, 3, side, side).contiguous(memory_format=memory_format)
        self.labels = torch.randint(classes, (batch,))
        self.optimiser = torch.optim.SGD((p for p in self.model.parameters() if p.requires_grad),
                                         1e-4, momentum=0.9, weight_decay=5e-4)

    def train(self):
        self.model.train()
        self.optimiser.zero_grad()
        self.torch.nn.functional.cross_entropy(self.model(self.input), self.labels).backward()
        self.optimiser.step()

    def infer(self):
        self.model.eval()
        with self.torch.inference_mode():
            self.model(self.input)

    def times(self, what, repeats):
        out = []
        for _ in range(repeats):
            begin = time.thread_time()
            getattr(self, what)()
            out.append(1e3 * (time.thread_time() - begin))
        return out


def measure(program, rounds, only):
    import torch
    torch.set_num_threads(1)
    keep_heap()
    ours = subprocess.Popen([program, "serve"], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def own_times(what, repeats, *case):
        print(what, repeats, *case, file=ours.stdin, flush=True)
        line = ours.stdout.readline()
        if not line:
            sys.exit("image_models: the program ended early")
        return [float(x) for x in line.split()]

    for name, side, batch, classes, options in CASES:
        if only and name != only:
            continue
        case = (name, side, batch, classes, options)
        peers = [Peer(*case, f) for f in (torch.contiguous_format, torch.channels_last)]
        fields = {}
        for what in ("train", "infer"):
            sides = [lambda n: own_times(what, n, *case), lambda n: peers[0].times(what, n),
                     lambda n: peers[1].times(what, n)]
            times = [[], [], []]
            for turn in range(rounds + 1):
                for i in range(3):
                    got = sides[(turn + i) % 3](3)
                    if turn > 0:  # the first warms up
                        times[(turn + i) % 3].append(statistics.median(got))
            own, eager, last = times
            fields[f"ratio_{what}"] = round(statistics.median(a / b for a, b in zip(own, eager)), 4)
            fields[f"{what}_ratio_channels_last"] = round(
                statistics.median(a / b for a, b in zip(own, last)), 4)
            for key, values in zip((f"{what}_ms", f"{what}_eager_ms", f"{what}_eager_channels_last_ms"),
                                   times):
                fields[key] = round(statistics.median(values), 2)
        print(json.dumps({"bench": "image_models", "case": f"{name} {side}x{side} batch {batch}",
                          **fields, "classes": classes, "options": options, "dtype": "fp32",
                          "threads": 1, "rounds": rounds, "time": "cpu time of the thread",
                          "allocator": "glibc, heap kept", "torch": torch.__version__}), flush=True)
    ours.stdin.close()
    ours.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="")
    parser.add_argument("--in-peers", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_peers:
        return measure(options.program, options.rounds, options.only)
    python = subprocess.run([str(ROOT / "scripts/peers")], check=True, stdout=subprocess.PIPE,
                            text=True).stdout.strip()
    return subprocess.run([python, "-W", "ignore", __file__, options.program, "--rounds",
                           str(options.rounds), "--only", options.only, "--in-peers"]).returncode


if __name__ == "__main__":
    sys.exit(main())
