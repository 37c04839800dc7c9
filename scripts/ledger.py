"""The ledger of faults, docs/reliability.jsonl, and the table that docs/reliability.md shows of it."""
import datetime
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
LEDGER = ROOT / "docs/reliability.jsonl"
PAGE = ROOT / "docs/reliability.md"
BEGIN, END = "<!-- table: scripts/soak --page -->", "<!-- end of table -->"


def cases(entry):
    return entry["count"]


def newest_total(mine):
    return mine[-1]["passages"]


def each(mine):
    """How many different cases of the newest enumeration: a seed goes on where the one before ended."""
    total = newest_total(mine)
    tried = set()
    for entry in mine:
        if entry["passages"] == total:
            first = (entry["seed"] - 1) * entry["count"]
            tried.update((first + i) % total for i in range(entry["count"]))
    return len(tried)


def timed_deaths(entry):
    return entry["kills_single_rank"] if entry["slowest_down_s"] > 0 else 0


def untimed_deaths(entry):
    return entry["kills_single_rank"] - timed_deaths(entry)


ALL = "all"  # different ones, as many as the newest round counted

# row: (what happens, total wanted, {fault: what an entry adds})
ROWS = [
    ("SIGKILL of the job at a random moment, then resume", 500,
     {"job-kill": lambda e: e["kills"] - e["kills_single_rank"]}),
    ("SIGKILL of one rank: down within 5 s, then resume", 100,
     {"job-kill": timed_deaths, "rank-kill": timed_deaths, "slurm/rank_kill": cases}),
    ("SIGKILL of one rank, its time not taken, then resume", 0,
     {"job-kill": untimed_deaths, "rank-kill": untimed_deaths}),
    ("SIGSTOP of one rank for ever", 30, {"rank-stop": cases}),
    ("SIGSTOP, then SIGCONT", 30, {"rank-pause": cases}),
    ("another world size at each resume", 12, {"world-pairs": cases}),
    ("another world size from the start", 0, {"world-size": cases}),
    ("USR2, then resume", 50, {"job-stop": lambda e: e["stops_by_signal"].get("USR2", 0)}),
    ("TERM, then resume", 50, {"job-stop": lambda e: e["stops_by_signal"].get("TERM", 0)}),
    ("bit flips in bytes that the next command reads", 10000, {"read-flip": cases}),
    ("bit flips anywhere, then check and resume", 0, {"bit-flip": cases}),
    ("truncated, zeroed, swapped, stale files", 500, {"read-wrong": cases, "truncate": cases}),
    ("ENOSPC at a write", 0, {"disk-full": cases}),
    ("ENOSPC and EIO at one write, as many as there are", ALL, {"write-error": cases}),
    ("a file system too small for the run", 32, {"small-disk": cases}),
    ("stale heartbeat; clock off 10 minutes", 20, {"stale-heartbeat": cases}),
    ("power loss (ext4, XFS)", 100, {"power-loss": cases}),
    ("NaN on one rank", 20, {"nan": cases}),
    ("a sample that kills its reader", 20, {"poison": cases}),
    ("wrong launches", 5, {"slurm/wrong_launch": lambda e: e["count"] * 5}),
    *((f"minutes of fuzzing: {reader}", 20, {f"fuzz/{target}": lambda e: e["minutes"]})
      for target, reader in [("hdf5", "HDF5"), ("safetensors", "safetensors"), ("ini", "INI"),
                             ("image", "JPEG, PNG, PNM"), ("texts", "JSON Lines, JSON, TSV"),
                             ("idx", "IDX")]),
    ("real Slurm: preemption", 10, {"slurm/requeue": cases}),
    ("real Slurm: scancel", 10, {"slurm/scancel": lambda e: e["count"] * 5}),
    ("real Slurm: warned before the time limit", 5, {"slurm/requeue": cases}),
    ("real Slurm: node killed", 5, {"slurm/node": cases}),
    ("real Slurm: node cut off, then back", 5, {"slurm/node": cases}),
    ("real Slurm: node killed and back within seconds", 0, {"slurm/node_back": lambda e: e["count"] * 2}),
]


def entries(ledger):
    if not ledger.exists():
        return []
    return [json.loads(line) for line in ledger.read_text().splitlines() if line]


def held(entry):
    return entry["code"] == 0 and entry["identical"] in (entry["count"], None)


def table(ledger):
    lines = ["| fault | wanted | done | wrong results, crashes, hangs | rounds that missed a demand |",
             "|---|---|---|---|---|"]
    for what, wanted, adds in ROWS:
        mine = [entry for entry in ledger if entry["fault"] in adds]
        good = [entry for entry in mine if held(entry)]
        if wanted != ALL:
            done = sum(adds[entry["fault"]](entry) for entry in good)
        else:
            wanted, done = (newest_total(good), each(good)) if good else (ALL, 0)
        bad = [sum(entry.get(field, 0) for entry in mine) for field in ("silent", "crashes", "hangs")]
        missed = sum(not held(entry) for entry in mine)
        counted = any("silent" in entry for entry in mine)  # tests of a tier say passed or failed
        found = f"{', '.join(map(str, bad)) if counted else '-'} | {missed}" if mine else "not run yet | "
        lines.append(f"| {what} | {wanted or '-'} | {done:g} | {found} |")
    commits = sorted({entry["date"] for entry in ledger})
    lines.append("")
    lines.append(f"{len(ledger)} rounds, {commits[0]} to {commits[-1]}." if ledger else "No rounds yet.")
    return "\n".join(lines)


def write_page(check):
    text = PAGE.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    new = f"{text[:begin]}\n{table(entries(LEDGER))}\n{text[end:]}"
    if check:
        return 0 if new == text else "docs/reliability.md is not what its ledger says: scripts/soak --page"
    PAGE.write_text(new)
    return 0


def output(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    return done.stdout.strip()


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line),
                 "unknown")
    return f"{len(os.sched_getaffinity(0))} cores, {model}"



def append(ledger, fault, outcome):
    """Writes a line for a round of `fault` and returns it."""
    commit = output("git", "rev-parse", "--short=12", "HEAD")
    if output("git", "status", "--porcelain", "--", "*.cpp", "*.h"):
        commit += "+"
    entry = {"fault": fault, "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
             "commit": commit, "machine": machine(), **outcome}
    with open(ledger, "a") as file:
        file.write(json.dumps(entry) + "\n")
    return entry
