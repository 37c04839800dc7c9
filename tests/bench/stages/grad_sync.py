"""Lets two ranks of grad_sync_bench and two of PyTorch's gloo sum the same number of floats in turns.

  python3 grad_sync.py PROGRAM [--rounds N]

Prints one JSON line per case. PyTorch is that of scripts/peers (LibTorch in .deps has no Python parts).
"""
import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
CASES = [("11M floats ranks=2", 11_000_000), ("1M floats ranks=2", 1_000_000),
         ("64K floats ranks=2", 65_536), ("1K floats ranks=2", 1_024)]


def environment():
    """The Python of the peers' environment (scripts/peers makes it when it is missing)."""
    return subprocess.run([str(ROOT / "scripts/peers")], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()


def gloo_rank(rank, port):
    """One gloo rank: rank 0 reads "FLOATS REPEATS" lines and answers with times in ms."""
    import torch
    import torch.distributed as dist
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    values, n = None, 0
    while True:
        job = torch.zeros(2, dtype=torch.int64)
        if rank == 0:
            line = sys.stdin.readline().split()
            job = torch.tensor([int(x) for x in line] or [0, 0])
        dist.broadcast(job, 0)
        floats, repeats = job.tolist()
        if floats == 0:
            return
        if floats != n:
            values, n = torch.ones(floats), floats
        times = []
        for _ in range(repeats):
            values.fill_(1)
            dist.barrier()
            start = time.perf_counter()
            dist.all_reduce(values)
            worst = torch.tensor([(time.perf_counter() - start) * 1e3])
            dist.all_reduce(worst, op=dist.ReduceOp.MAX)
            times.append(worst.item())
        if rank == 0:
            print(*times, flush=True)


class Side:
    """Processes of one implementation, and the pipe to their rank 0."""

    def __init__(self, commands, variables):
        self.processes = [subprocess.Popen(command, env=variables, text=True,
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                          for command in commands]
        self.root = self.processes[0]

    def times(self, what, repeats):
        self.root.stdin.write(f"{what} {repeats}\n")
        self.root.stdin.flush()
        line = self.root.stdout.readline()
        if not line:
            sys.exit("grad_sync: a side ended early")
        return [float(x) for x in line.split()]

    def close(self):
        for process in self.processes:
            process.stdin.close()
        for process in self.processes:
            process.wait()


def step_figures(ranks, rounds):
    """A step of a network of 11 M parameters on both ranks, with and without the sum."""
    ranks.times("step", 2)  # warm
    times = ranks.times("step", rounds)
    synced, own = statistics.median(times[0::2]), statistics.median(times[1::2])
    return {"ratio_step": round(synced / own, 4), "step_ms": round(synced, 3), "own_step_ms": round(own, 3)}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--gloo-rank", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.gloo_rank is not None:
        return gloo_rank(options.gloo_rank, int(options.program))
    python = environment()
    port = free_port()
    gloo = Side([[python, __file__, str(port), "--gloo-rank", str(rank)] for rank in (0, 1)],
                dict(os.environ))
    ranks = Side([["mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1",
                   "-n", "2", options.program]],
                 {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"})
    for case, floats in CASES:
        repeats = max(3, min(50, 3_000_000 // floats))
        own, theirs = [], []
        for side in (ranks, gloo):
            side.times(floats, repeats)  # warm
        for _ in range(options.rounds):
            own.append(statistics.median(ranks.times(floats, repeats)))
            theirs.append(statistics.median(gloo.times(floats, repeats)))
        ours, gloos = statistics.median(own), statistics.median(theirs)
        main_case = floats == CASES[0][1]
        field = "ratio_gloo" if main_case else "small_ratio_gloo"
        step = step_figures(ranks, options.rounds) if main_case else {}
        print(json.dumps({"bench": "grad_sync", "case": case, field: round(ours / gloos, 4), **step,
                          "ms": round(ours, 4), "gloo_ms": round(gloos, 4),
                          "gigabytes_per_s": round(floats * 4 / ours / 1e6, 3), "dtype": "fp32",
                          "micro_shards": 8, "threads": "one per rank", "rounds": options.rounds,
                          "repeats": repeats, "torch": VERSION}), flush=True)
    gloo.close()
    ranks.close()


if __name__ == "__main__":
    main()
