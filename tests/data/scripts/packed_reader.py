"""Reads packed datasets as docs/packed_dataset_format.md says: h5py, hashlib, no Retort."""
import hashlib
import json
import struct

import h5py

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


def packed(folder, split):
    """All samples of a split as (payload, labels); checks a part of the CRCs (Python is slow)."""
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
            ends = f["row_begin"][:] if facts["row_bytes"] == 0 else None
            for table in ("row_crc", "label_begin", "labels"):
                place = facts[table]
                raw = data[place["offset"] : place["offset"] + place["bytes"]]
                assert raw == f[table][:].tobytes(), table
                if len(raw) < 100000:
                    assert crc32c(raw) == place["crc32c"], table
            part = []
            for i in range(len(begin) - 1):
                if facts["row_bytes"] == 0:
                    payload = rows[ends[i] : ends[i + 1]].tobytes()
                else:
                    payload = rows[i].tobytes()
                    at = facts["rows"]["offset"] + i * facts["row_bytes"]
                    assert data[at : at + facts["row_bytes"]] == payload
                if i % 997 == 0:
                    assert crc32c(payload) == crcs[i]
                part.append((payload, labels[begin[i] : begin[i + 1]].tolist()))
            digest = sequence_digest(part)
            assert digest == facts["digest"]
            samples += part
    if len(shards) > 1:
        digest = sequence_digest(samples)
    names = [n.decode() for n in h5py.File(f"{folder}/classes.h5")["names"][:]]
    whole = hashlib.sha256(b"retort classes 1" + u64(len(names)))
    for n in names:
        whole.update(u64(len(n.encode())) + n.encode())
    assert whole.hexdigest() == manifest["facts"]["class_digest"]
    shape = [manifest["facts"][k] for k in ("height", "width", "channels")]
    expected = hashlib.sha256(
        b"retort packed split 1" + manifest["facts"]["form"].encode() + b"".join(map(u64, shape))
        + whole.hexdigest().encode() + digest.encode()).hexdigest()
    assert expected == {s["name"]: s for s in manifest["facts"]["splits"]}[split]["digest"]
    return samples, names
