"""Runs CTest tier by tier, each within its time budget, and sums the results up.

  run_tiers.py --build DIR [--tier=NAME ...] -- [CTest's own selection]

A tier without tests, or one that outlasts its budget, is a failure. A skipped test is named with
its reason and never counts as passed.
"""
import argparse
import os
import pathlib
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

# Seconds on 2 slow cores; tiers in the order in which they tell most.
BUDGETS = {"unit": 1500, "golden": 240, "mpi": 1100, "data": 900, "fault": 900,
           "slurm": 900, "gpu": 300, "bench": 1800}
# What a plain scripts/test runs. The others need more than a machine that builds Retort.
EVERYWHERE = ["unit", "golden", "mpi", "data", "fault", "slurm"]


class Tier:
    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failed = []   # (name, why)
        self.skipped = []  # (name, why)
        self.seconds = 0.0
        self.slowest = ("", 0.0)

    def read(self, report):
        for case in xml.parse(report).getroot().iter("testcase"):
            name = case.get("name")
            seconds = float(case.get("time") or 0)
            if seconds > self.slowest[1]:
                self.slowest = (name, seconds)
            status = case.get("status")
            if status == "run":
                self.passed += 1
            elif status == "fail":
                failure = case.find("failure")
                why = failure.get("message") if failure is not None else ""
                self.failed.append((name, why or "failed"))
            elif skip_message(case).startswith("SKIP_"):
                self.skipped.append((name, why_skipped(case)))
            else:  # not built, disabled, a fixture that failed
                self.failed.append((name, f"not run: {skip_message(case)}"))


def skip_message(case):
    """Of a test that did not run; starts with SKIP_ if the test itself said so."""
    skipped = case.find("skipped")
    return skipped.get("message") or "" if skipped is not None else ""


def why_skipped(case):
    """The last words of a skipped test: what it printed as its reason."""
    output = (case.findtext("system-out") or "").strip().splitlines()
    told = [line.strip() for line in output if line.strip() and not line.startswith("[")]
    return told[-1] if told else skip_message(case)


def run_tier(name, build, selection, jobs):
    tier = Tier(name)
    report = (build / "reports" / f"{name}.xml").resolve()
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    command = ["ctest", "--test-dir", str(build), "-L", f"^{name}$", "--output-junit", str(report),
               "--output-on-failure", "--no-tests=" + ("ignore" if selection else "error"),
               "-j", str(jobs), *selection]
    start = time.monotonic()
    # A group of its own, so that a tier out of time ends with all its ranks.
    process = subprocess.Popen(command, start_new_session=True)
    try:
        process.wait(timeout=BUDGETS[name])
    except subprocess.TimeoutExpired:
        tier.failed.append((f"{name}:budget", f"took longer than {BUDGETS[name]} s"))
        stop_group(process)
    except KeyboardInterrupt:
        stop_group(process)
        raise
    tier.seconds = time.monotonic() - start
    if report.is_file():
        tier.read(report)
    if process.returncode != 0 and not tier.failed:
        none = report.is_file() and not tier.passed and not tier.skipped
        tier.failed.append((f"{name}:ctest", "the tier has no tests" if none else
                            f"ctest ended with {process.returncode}"))
    return tier


def stop_group(process):
    for sign, patience in ((signal.SIGINT, 5), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, sign)
            process.wait(timeout=patience)
            return
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return


def end_on_terminate(*_):
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, end_on_terminate)
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--tier", action="append", choices=list(BUDGETS), default=[])
    parser.add_argument("selection", nargs="*")
    arguments = parser.parse_args()
    tiers = [run_tier(name, arguments.build, arguments.selection, os.cpu_count() or 1)
             for name in arguments.tier or EVERYWHERE]
    print()
    for tier in tiers:
        for name, why in tier.skipped:
            print(f"skipped {name}: {why}")
        for name, why in tier.failed:
            print(f"FAILED  {name}: {why}")
    for tier in tiers:
        print(f"{tier.name:8} {tier.passed:5} passed {len(tier.failed):3} failed "
              f"{len(tier.skipped):3} skipped  {tier.seconds:6.1f} of {BUDGETS[tier.name]} s, "
              f"slowest {tier.slowest[0]} {tier.slowest[1]:.1f} s")
    passed = sum(tier.passed for tier in tiers)
    failed = sum(len(tier.failed) for tier in tiers)
    skipped = sum(len(tier.skipped) for tier in tiers)
    if passed + failed + skipped == 0:
        sys.exit("no test matches " + " ".join(arguments.selection))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
