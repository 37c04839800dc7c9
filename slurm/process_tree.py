"""Starts processes that can be ended for certain, with all that they started.

  process_tree.py run FOLDER NAME COMMAND...   records itself in FOLDER/processes, runs COMMAND and
                                               adopts every process below it that loses its parent
  process_tree.py adopt COMMAND...             the same without a record (first process of a namespace)
  process_tree.py end FOLDER [NAME...]         SIGKILL for what is recorded, with everything below it
                                               (what called it lives on)
  process_tree.py alive FOLDER [NAME...]       prints the names of those that live
  process_tree.py watch PID COMMAND...         runs COMMAND when that process has ended

A daemon's children leave its tree when they detach (slurmd's step daemons do): Linux then hands them
to the nearest ancestor that asked for orphans (PR_SET_CHILD_SUBREAPER), which is this one. So the
tree below a recorded process is all that it ever started. A record holds the process's start time,
too: with the id it names one process, and no other is ever signalled.
"""
import ctypes
import os
import pathlib
import signal
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 10  # seconds for killed processes to be gone


def stat_of(pid):
    """(parent, start time in ticks since boot, state), None where there is no such process."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2:].split()
    return int(fields[1]), int(fields[19]), fields[0]


def records(folder, names):
    """(name, pid) of recorded processes that live."""
    try:
        lines = (folder / "processes").read_text().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        fields = line.split()
        if len(fields) != 3 or (names and fields[0] not in names):
            continue
        now = stat_of(int(fields[1]))
        if now and now[1] == int(fields[2]) and now[2] != "Z":
            found.append((fields[0], int(fields[1])))
    return found


def ancestors(pid):
    found = set()
    while pid and (stat := stat_of(pid)):
        found.add(pid)
        pid = stat[0]
    return found


def descendants(roots):
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := stat_of(entry)):
            parents[int(entry)] = stat[0]
    tree = set(roots)
    grown = True
    while grown:
        below = {pid for pid, parent in parents.items() if parent in tree}
        grown = not below <= tree
        tree |= below
    return tree


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def gone(starts, seconds):
    """Waits until all of them, pid -> stat_of before the kill, are gone; those that are not."""
    deadline = time.monotonic() + seconds
    left = set(starts)
    while left:
        left = {pid for pid in left if starts[pid] and (now := stat_of(pid))
                and now[1] == starts[pid][1] and now[2] != "Z"}
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    return left


def end(folder, names):
    """Everything stands still before anything dies: nothing forks away from the kill."""
    roots = {pid for _, pid in records(folder, names)} - ancestors(os.getpid())
    starts = {}
    while new := descendants(roots) - set(starts):
        for pid in new:
            starts[pid] = stat_of(pid)
            send(pid, signal.SIGSTOP)
    for pid in set(starts) - roots:
        send(pid, signal.SIGKILL)
    # The roots collect their dead and end by themselves.
    for pid in roots:
        send(pid, signal.SIGCONT)
    gone(starts, 1)
    for pid in roots:
        send(pid, signal.SIGKILL)
    if left := gone(starts, PATIENCE):
        sys.exit(f"process_tree.py: {sorted(left)} outlived SIGKILL for {PATIENCE} s")


def adopt(command):
    """Runs the command and collects children until none is left; its exit code."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    first = os.posix_spawnp(command[0], command, os.environ)
    code = 1
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return code
        if pid == first:
            code = os.waitstatus_to_exitcode(status)


def run(folder, name, command):
    # Without O_CREAT: where the folder has gone in the meantime, nothing is started any more.
    try:
        file = os.open(folder / "processes", os.O_WRONLY | os.O_APPEND)
    except FileNotFoundError:
        sys.exit(f"process_tree.py: {folder} has gone, {name} is not started")
    os.write(file, f"{name} {os.getpid()} {stat_of(os.getpid())[1]}\n".encode())
    os.close(file)
    return adopt(command)


def watch(pid, command):
    start = stat_of(pid)
    while start and (now := stat_of(pid)) and now[1] == start[1] and now[2] != "Z":
        time.sleep(0.5)
    os.execvp(command[0], command)


def main():
    action, *words = sys.argv[1:]
    if action == "run":
        return run(pathlib.Path(words[0]), words[1], words[2:])
    if action == "adopt":
        return adopt(words)
    if action == "end":
        return end(pathlib.Path(words[0]), words[1:])
    if action == "watch":
        return watch(int(words[0]), words[1:])
    if action == "alive":
        for name, _ in records(pathlib.Path(words[0]), words[1:]):
            print(name)
        return 0
    sys.exit(f"process_tree.py: unknown action {action}")


if __name__ == "__main__":
    sys.exit(main())
