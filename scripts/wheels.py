"""Unpacks what Retort uses of the pinned wheels, and verifies it by the wheels' own records.

  wheels.py unpack DOWNLOADS DEPS    headers and libraries of DOWNLOADS/*.whl into DEPS
  wheels.py verify DEPS              exit code 1 unless DEPS holds every pinned wheel, unharmed
"""
import base64
import csv
import hashlib
import pathlib
import re
import shutil
import sys
import zipfile

USED = ("torch/include/", "torch/lib/", "torch/share/", "nvidia/")


def pinned_records():
    """Names of the folders with the record of each wheel in wheels.txt."""
    text = (pathlib.Path(__file__).parent / "wheels.txt").read_text()
    pairs = re.findall(r"^([A-Za-z0-9-]+)==(\S+)", text, re.M)
    return [f"{name.replace('-', '_')}-{version}.dist-info" for name, version in pairs]


def is_used(name):
    return name.startswith(USED) or ".dist-info/" in name


def unpack(downloads, deps):
    for wheel in sorted(downloads.glob("*.whl")):
        staging = deps / "unpacking"
        shutil.rmtree(staging, ignore_errors=True)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(staging, [n for n in archive.namelist() if is_used(n)])
        for entry in sorted(staging.iterdir()):
            # nvidia/ is shared by two wheels, so it is merged and not replaced.
            shutil.copytree(entry, deps / entry.name, dirs_exist_ok=True, copy_function=shutil.move)
        shutil.rmtree(staging)
    return verify(deps)


def verify(deps):
    for record in pinned_records():
        path = deps / record / "RECORD"
        if not path.is_file():
            return f"{record} is missing"
        with path.open(newline="") as rows:
            for name, digest, _ in csv.reader(rows):
                if not name.startswith(USED) or not digest:
                    continue
                file = deps / name
                if not file.is_file():
                    return f"{file} is missing"
                with file.open("rb") as content:
                    found = hashlib.file_digest(content, "sha256").digest() if hasattr(
                        hashlib, "file_digest") else hashlib.sha256(content.read()).digest()
                want = base64.urlsafe_b64encode(found).rstrip(b"=").decode()
                if digest != f"sha256={want}":
                    return f"{file} differs from its wheel"
    return None


def main(arguments):
    if len(arguments) == 3 and arguments[0] == "unpack":
        problem = unpack(pathlib.Path(arguments[1]), pathlib.Path(arguments[2]))
    elif len(arguments) == 2 and arguments[0] == "verify":
        problem = verify(pathlib.Path(arguments[1]))
    else:
        sys.exit(__doc__)
    if problem:
        sys.exit(f"wheels.py: {problem}; remove .deps and run scripts/setup again")


if __name__ == "__main__":
    main(sys.argv[1:])
