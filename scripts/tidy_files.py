"""Runs clang-tidy on the sources that differ from a commit: tidy_files.py BASE SECONDS."""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time


def changed_sources(base):
    listed = subprocess.run(["git", "diff", "--name-only", "--diff-filter=d", "-z", base, "--",
                             "*.cpp"], check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name]


def clang_command(command):
    """A g++ command as clang reads it: no ccache, and the text of a precompiled header."""
    words = shlex.split(command)
    words = words[next(i for i, w in enumerate(words) if re.search(r"(g\+\+|c\+\+)[\d.-]*$", w)):]
    kept = []
    skip = False
    for i, word in enumerate(words):
        if skip:
            skip = False
        elif word == "-include" and "cmake_pch" in words[i + 1]:
            kept += ["-include", words[i + 1]]
            skip = True
        elif word not in ("-fpch-preprocess", "-Winvalid-pch"):
            kept.append(word)
    return shlex.join(kept)


def write_database(build, sources):
    """A compilation database of the sources alone. Precompiled headers of g++ are hidden from clang
    by naming the header that they were made of."""
    root = pathlib.Path.cwd()
    wanted = {str(root / name) for name in sources}
    entries = []
    for entry in json.loads((build / "compile_commands.json").read_text()):
        if entry["file"] not in wanted:
            continue
        command = re.sub(r"\S*/CMakeFiles/\S*cmake_pch\.hxx", str(root / "cmake/torch_pch.h"),
                         clang_command(entry["command"]))
        entries.append({**entry, "command": command})
    folder = build / "tidy"
    folder.mkdir(exist_ok=True)
    (folder / "compile_commands.json").write_text(json.dumps(entries))
    return folder, {os.path.relpath(entry["file"]) for entry in entries}


def main():
    base, seconds = sys.argv[1], float(sys.argv[2])
    deadline = time.monotonic() + seconds
    sources = changed_sources(base)
    if not sources:
        print("tidy: no source differs from the base")
        return
    database, built = write_database(pathlib.Path("build/release"), sources)

    def check(name):
        left = deadline - time.monotonic()
        if left <= 0:
            return name, None, ""
        try:
            done = subprocess.run(["clang-tidy-14", "--quiet", "-p", str(database), name],
                                  capture_output=True, text=True, timeout=left)
        except subprocess.TimeoutExpired:
            return name, None, ""
        return name, done.returncode, done.stdout + done.stderr

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(check, [name for name in sources if name in built]))
    bad = [(name, output) for name, code, output in results if code]
    for name, output in bad:
        print(output.strip())
    late = [name for name, code, _ in results if code is None]
    for name in late:
        print(f"tidy: not reached within {seconds:.0f} s: {name}")
    for name in sorted(set(sources) - built):
        print(f"tidy: not part of the build, not checked: {name}")
    print(f"tidy: {len(results) - len(late)} files checked, {len(bad)} with findings")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
