"""An independent reading of sources and packed datasets: numpy, PIL, h5py, hashlib, no Retort."""
import gzip
import hashlib
import json
import os
import struct
import sys

import h5py
import numpy as np
from PIL import Image

root = sys.argv[1]
PRIME = 2**61 - 1
POINTS = [0x0F3C5A1E9B7D2468, 0x1A2B3C4D5E6F7089, 0x0D1C2B3A49586776, 0x13579BDF02468ACE]
CRC_TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    CRC_TABLE.append(byte)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def u64(value):
    return struct.pack("<Q", value)


def sequence_digest(samples):
    lanes, count = [0] * 4, 0
    for payload, labels in samples:
        h = hashlib.sha256(u64(len(payload)) + payload + u64(len(labels)) + b"".join(map(u64, labels)))
        for k in range(4):
            word = int.from_bytes(h.digest()[8 * k : 8 * k + 8], "big")
            lanes[k] = (lanes[k] * POINTS[k] + word) % PRIME
        count += 1
    return f"{count}:" + "".join(f"{lane:016x}" for lane in lanes)


def packed(name, split):
    """All samples of a split as (payload, labels); checks a part of the CRCs (Python is slow)."""
    folder = f"{root}/packed/{name}"
    manifest = json.load(open(f"{folder}/manifest.json", encoding="utf-8"))
    samples = []
    shards = [m for m in manifest["members"] if m["facts"].get("split") == split]
    for member in sorted(shards, key=lambda m: m["facts"]["shard"]):
        facts = member["facts"]
        data = open(f"{folder}/{member['name']}", "rb").read()
        assert hashlib.sha256(data).hexdigest() == member["sha256"]
        with h5py.File(f"{folder}/{member['name']}") as f:
            rows, labels, begin = f["rows"][:], f["labels"][:], f["label_begin"][:]
            crcs = f["row_crc"][:]
            for table in ("row_crc", "label_begin", "labels"):
                place = facts[table]
                raw = data[place["offset"] : place["offset"] + place["bytes"]]
                assert raw == f[table][:].tobytes(), table
                if len(raw) < 100000:
                    assert crc32c(raw) == place["crc32c"], table
            part = []
            for i in range(len(begin) - 1):
                if facts["row_bytes"] == 0:
                    payload = rows[f["row_begin"][i] : f["row_begin"][i + 1]].tobytes()
                else:
                    payload = rows[i].tobytes()
                    at = facts["rows"]["offset"] + i * facts["row_bytes"]
                    assert data[at : at + facts["row_bytes"]] == payload
                if i % 997 == 0:
                    assert crc32c(payload) == crcs[i]
                part.append((payload, labels[begin[i] : begin[i + 1]].tolist()))
            assert sequence_digest(part) == facts["digest"]
            samples += part
    names = [n.decode() for n in h5py.File(f"{folder}/classes.h5")["names"][:]]
    whole = hashlib.sha256(b"retort classes 1" + u64(len(names)))
    for n in names:
        whole.update(u64(len(n.encode())) + n.encode())
    assert whole.hexdigest() == manifest["facts"]["class_digest"]
    shape = [manifest["facts"][k] for k in ("height", "width", "channels")]
    expected = hashlib.sha256(
        b"retort packed split 1" + manifest["facts"]["form"].encode() + b"".join(map(u64, shape))
        + whole.hexdigest().encode() + sequence_digest(samples).encode()).hexdigest()
    assert expected == {s["name"]: s for s in manifest["facts"]["splits"]}[split]["digest"]
    return samples, names


def idx(path):
    data = gzip.open(path).read()
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


for split, prefix in (("train", "train"), ("test", "t10k")):
    images = idx(f"{root}/mnist/mnist/{prefix}-images-idx3-ubyte.gz")
    labels = idx(f"{root}/mnist/mnist/{prefix}-labels-idx1-ubyte.gz")
    samples, names = packed("mnist", split)
    assert names == [str(i) for i in range(10)]
    assert len(samples) == len(images)
    for (payload, gold), image, label in zip(samples, images, labels):
        assert payload == image.tobytes() and gold == [label]
    print("mnist", split, len(samples))


def pictures(folder):
    found = []
    for path, _, files in os.walk(folder):
        for file in files:
            if file.endswith((".jpg", ".png", ".pgm")):
                found.append(os.path.relpath(os.path.join(path, file), folder))
    return found


def check_folder(name, split, folder, mode, class_of):
    samples, names = packed(name, split)
    files = sorted(pictures(folder), key=lambda f: (class_of(f).encode(), f.encode()))
    assert len(samples) == len(files), (len(samples), len(files))
    for (payload, gold), file in zip(samples, files):
        assert names[gold[0]] == class_of(file), file
        # The decoder is the same library's, so even JPEG is equal to the last bit.
        assert payload == np.asarray(Image.open(f"{folder}/{file}").convert(mode)).tobytes(), file
    print(name, split, len(samples))


check_folder("orl", "train", f"{root}/orl-faces/orl-faces/orl_faces", "L", os.path.dirname)
check_folder("omniglot", "train", f"{root}/omniglot/omniglot/images_background", "L", os.path.dirname)
for split in ("train", "test"):
    check_folder("cifar", split, f"{root}/cifar10-jpg/cifar10-jpg/{split}", "RGB", os.path.dirname)

# CFP: 500 people of 14 pictures, 2 + 2 held out; the bytes of every file exactly once.
faces = f"{root}/cfp/cfp/Data/Images"
left = {}
for file in pictures(faces):
    left.setdefault(open(f"{faces}/{file}", "rb").read(), []).append(file.split("/")[1])
for split, each in (("train", 10), ("validation", 2), ("test", 2)):
    samples, names = packed("cfp", split)
    counts = np.bincount([gold[0] for _, gold in samples], minlength=500)
    assert len(names) == 500 and (counts == each).all(), (split, counts)
    for payload, gold in samples:
        left[payload].remove(names[gold[0]])
    print("cfp", split, len(samples))
assert not any(left.values())
