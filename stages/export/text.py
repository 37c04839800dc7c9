# How a text becomes ids (Retort's docs/models.md, "Text"; the rule is in model.json).
import re

import torch


def fnv1a(data):
    value = 2166136261
    for byte in data:
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


def text_ids(text):
    """The ids of one text (str, or bytes, of which what is no UTF-8 is read as U+FFFD)."""
    rule = description["text"]
    if rule["version"] > 2:
        raise ValueError(f"a text rule of version {rule['version']}: export with a newer Retort")
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogatepass")
    text = text.decode("utf-8", "replace")
    if rule.get("letters") == "ascii-lower":
        text = re.sub("[A-Z]+", lambda letters: letters[0].lower(), text)
    buckets, ids, units = rule["buckets"], [], []
    if rule["unit"] == "word":
        words = [f"<{word}>" for word in re.split(r"[ \t\n\r\v\f\0]+", text) if word]
    else:
        words = list(text)
    for word in words[:rule["limit"] or None]:
        units.append(fnv1a(word.encode()))
        ids.append(units[-1] % buckets)
        if rule["max_chars"] > 0:
            for first in range(len(word)):
                for n in range(rule["min_chars"], rule["max_chars"] + 1):
                    if first + n > len(word) or n == len(word):
                        break
                    if n > 1 or 0 < first < len(word) - 1:  # no lone boundaries
                        ids.append(fnv1a(word[first:first + n].encode()) % buckets)
    for first in range(len(units)):
        value = units[first]
        for unit in units[first + 1:first + rule["unit_ngrams"]]:
            value = (value * 116049371 + unit) & 0xFFFFFFFFFFFFFFFF
            ids.append(value % buckets)
    return ids


def preprocess(texts):
    """A list of n texts -> the list of their ids, int64 tensors of one dimension."""
    return [torch.tensor(text_ids(text), dtype=torch.int64) for text in texts]


def padded(ids):
    """What preprocess() gives as one int64 tensor [n, longest, at least 1], filled up with -1: the
    input of model.onnx."""
    longest = max([1] + [len(row) for row in ids])
    return torch.stack([torch.nn.functional.pad(row, (0, longest - len(row)), value=-1) for row in ids])
