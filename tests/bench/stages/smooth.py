"""Lets smooth_bench and an exact search of FAISS find the M most similar of K classes in turns.

  python3 smooth.py PROGRAM [--rounds N] [--only TEXT]

Prints one JSON line per case. FAISS is PyPI's faiss-cpu in the environment of scripts/peers, an
IndexFlatIP over columns of length 1 that is asked for each of them. Its wheel carries an OpenBLAS that
takes a slow kernel on processors which it does not know: every OPENBLAS_CORETYPE of TYPES that the
processor can run is tried beforehand and the fastest one compared (`speedup_faiss`); `speedup_faiss_as_it_comes` is against the
wheel's own choice. `torch_gflops`: the product alone by torch.mm.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
FEATURES, THREADS = 512, 2
CASES = [(classes, top_m) for classes in (20_000, 50_000) for top_m in (10, 100)]
TYPES = ["", "SkylakeX", "Haswell", "Zen"]


def types_here():
    """A kernel for AVX-512 ends its process elsewhere."""
    wide = " avx512f " in pathlib.Path("/proc/cpuinfo").read_text()
    return [kind for kind in TYPES if wide or kind != "SkylakeX"]


def faiss_side():
    """Answers lines "CLASSES TOP_M" with seconds, "torch CLASSES" with GFLOP/s of the product."""
    import faiss
    import numpy
    import torch
    faiss.omp_set_num_threads(THREADS)
    torch.set_num_threads(THREADS)
    columns, index = numpy.zeros((0, FEATURES), numpy.float32), None
    for line in sys.stdin:
        words = line.split()
        classes = int(words[-2] if words[0] != "torch" else words[1])
        if len(columns) != classes:
            columns = numpy.random.default_rng(1).standard_normal((classes, FEATURES), numpy.float32)
            columns /= numpy.linalg.norm(columns, axis=1, keepdims=True)
            index = faiss.IndexFlatIP(FEATURES)
            index.add(columns)
        start = time.perf_counter()
        if words[0] == "torch":
            some = torch.from_numpy(columns)
            some[:4096] @ some.T
            answer = 2 * 4096 * classes * FEATURES / (time.perf_counter() - start) / 1e9
        else:
            index.search(columns, int(words[1]))
            answer = time.perf_counter() - start
        print(answer, faiss.__version__, flush=True)


class Faiss:
    def __init__(self, python, core_type):
        variables = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
        if core_type:
            variables["OPENBLAS_CORETYPE"] = core_type
        self.process = subprocess.Popen([python, __file__, "-", "--faiss-side"], env=variables, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.version = ""

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline().split()
        if not line:
            sys.exit("smooth: FAISS ended early")
        self.version = line[1]
        return float(line[0])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def own_run(program, classes, top_m, precision):
    done = subprocess.run([program, str(classes), str(FEATURES), str(top_m), precision, str(THREADS)],
                          stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"smooth: {classes} classes, top {top_m}: ended with {done.returncode}: {done.stdout}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--faiss-side", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.faiss_side:
        return faiss_side()
    python = subprocess.run([str(ROOT / "scripts/peers")], check=True, stdout=subprocess.PIPE,
                            text=True).stdout.strip()
    sides = {kind: Faiss(python, kind) for kind in types_here()}
    first = {kind: min(side.ask(8192, 10) for _ in range(3)) for kind, side in sides.items()}
    best = min(first, key=first.get)
    as_it_comes = first[""] / first[best]
    for kind, side in sides.items():
        if kind != best:
            side.close()
    faiss = sides[best]
    for classes, top_m in CASES:
        case = f"{classes}x{FEATURES} top {top_m}"
        if options.only not in case:
            continue
        theirs, own = [], []
        faiss.ask(classes, top_m)
        for _ in range(options.rounds):
            own.append(own_run(options.program, classes, top_m, "fp32"))
            theirs.append(faiss.ask(classes, top_m))
        torch = statistics.median(faiss.ask("torch", classes) for _ in range(options.rounds))
        seconds = statistics.median(run["seconds"] for run in own)
        other = statistics.median(theirs)
        typical = min(own, key=lambda run: abs(run["seconds"] - seconds))
        print(json.dumps({
            "bench": "smooth", "case": case, "speedup_faiss": round(other / seconds, 3),
            "speedup_faiss_as_it_comes": round(other * as_it_comes / seconds, 2),
            "seconds": round(seconds, 3), "faiss_seconds": round(other, 3),
            "gflops": typical["gflops"], "fma_peak": typical["fma_peak"],
            "kernel_gflops": typical["kernel_gflops"], "torch_gflops": round(torch, 1),
            "faiss_gflops": round(2 * classes * classes * FEATURES / other / 1e9, 1),
            "extra_mb": typical["extra_mb"], "columns_mb": typical["columns_mb"],
            "wrong_rows": sum(run["wrong_rows"] for run in own),
            "rows_compared": sum(run["rows_compared"] for run in own), "precision": "fp32",
            "kernel": typical["kernel"], "threads": THREADS, "rounds": options.rounds,
            "faiss": faiss.version, "faiss_core_type": best or "its own choice"}), flush=True)
    faiss.close()


if __name__ == "__main__":
    main()
