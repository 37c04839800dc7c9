"""An independent reading of text sources, against packed datasets: json, codecs, h5py, no Retort."""
import collections
import json
import os
import sys

import packed_reader

root = sys.argv[1]


def packed(name, split):
    """Samples of a split as (text, class names)."""
    samples, names = packed_reader.packed(f"{root}/packed/{name}", split)
    return [(payload.decode(), [names[i] for i in labels]) for payload, labels in samples], names


def check(name, split, expected, classes):
    samples, names = packed(name, split)
    assert names == classes, (name, names[:5], classes[:5])
    assert samples == expected, next(
        (i, a, b) for i, (a, b) in enumerate(zip(samples, expected)) if a != b)
    facts = json.load(open(f"{root}/packed/{name}/manifest.json", encoding="utf-8"))["facts"]
    assert {s["name"]: s for s in facts["splits"]}[split]["samples"] == len(expected)
    print(name, split, len(expected), "texts,", len(classes), "classes")


def by_bytes(labels):
    return sorted(set(labels), key=lambda n: n.encode())


# CLINC150: [text, label] pairs in splits.
clinc = json.load(open(f"{root}/clinc150/data_full.json", encoding="utf-8"))
intents = by_bytes(label for _, label in clinc["train"])
assert len(intents) == 150 and "oos" not in intents
for split, key in (("train", "train"), ("validation", "val"), ("test", "test")):
    check("clinc150", split, [(t, [l]) for t, l in clinc[key]], intents)
for split, key in (("train", "train"), ("validation", "val"), ("oos_test", "oos_test")):
    check("clinc151", split, [(t, [l]) for t, l in clinc[key]], by_bytes(intents + ["oos"]))
check("clinc-oos", "oos_val", [(t, []) for t, _ in clinc["oos_val"]], intents)
check("clinc-oos", "train", [(t, [l]) for t, l in clinc["train"]], intents)
# T and U: 20 and 80 of each intent, in the source's order, together all of train.
labelled, _ = packed("clinc-t", "train")
unlabelled, names = packed("clinc-u", "unlabelled")
assert names == intents and not any(labels for _, labels in unlabelled)
assert set(collections.Counter(l for _, [l] in labelled).values()) == {20}
of_text = dict(clinc["train"])
assert len(of_text) == len(clinc["train"])
assert set(collections.Counter(of_text[t] for t, _ in unlabelled).values()) == {80}
assert sorted(t for t, _ in labelled + unlabelled) == sorted(of_text)
place = {t: i for i, (t, _) in enumerate(clinc["train"])}
for part in (labelled, unlabelled):
    assert [place[t] for t, _ in part] == sorted(place[t] for t, _ in part)
check("clinc-t", "test", [(t, [l]) for t, l in clinc["test"]], intents)


def lines(path, encoding="utf-8"):
    data = open(path, "rb").read().split(b"\n")
    return [line.removesuffix(b"\r").decode(encoding, errors="replace") for line in data]


# 79 languages: a file each; a line each.
for name, folder in (("languages", "langid-lingua79/sentences"), ("words", "words")):
    folder = f"{root}/{folder}"
    files = sorted(f for f in os.listdir(folder) if f.endswith(".txt"))
    rows = [(t, [f[:-4]]) for f in files for t in lines(f"{folder}/{f}") if t]
    languages = by_bytes(label for _, [label] in rows)
    if name == "languages":
        assert len(languages) == 79
        check(name, "train", rows, languages)
        continue
    parts = {s: packed(name, s)[0] for s in ("train", "validation", "test")}
    assert collections.Counter((t, l[0]) for p in parts.values() for t, l in p) == \
        collections.Counter((t, l[0]) for t, l in rows)
    held = collections.Counter(l[0] for _, l in parts["test"])
    whole = collections.Counter(l[0] for _, l in rows)
    assert all(abs(held[l] - 0.1 * whole[l]) < 1 for l in languages), held
    print(name, {s: len(p) for s, p in parts.items()})

# TREC: LABEL:fine text, once as Latin-1, once with what is no UTF-8 replaced.
for name, encoding in (("trec", "latin-1"), ("trec-coarse", "utf-8")):
    rows = {s: [line.split(" ", 1) for line in lines(f"{root}/trec/{s}", encoding) if line]
            for s in ("train", "test")}
    cut = (lambda l: l.split(":")) if name == "trec-coarse" else (lambda l: [l])
    classes = by_bytes(c for r in rows.values() for l, _ in r for c in cut(l))
    for split in ("train", "test"):
        check(name, split, [(t, cut(l)) for l, t in rows[split]], classes)
replaced = sum(t.count("\ufffd") for r in rows.values() for _, t in r)
facts = json.load(open(f"{root}/packed/trec-coarse/manifest.json", encoding="utf-8"))["facts"]
assert replaced == facts["source"]["invalid_utf8"]["sequences"] > 0

# FewCLUE: JSON lines.
def objects(path):
    return [json.loads(line) for line in open(f"{root}/fewclue/{path}", encoding="utf-8") if line.strip()]


news = {s: objects(f"tnews/{f}.json") for s, f in (
    ("train", "train_few_all"), ("validation", "dev_few_all"), ("test", "test_public"))}
topics = by_bytes(o["label_desc"] for rows in news.values() for o in rows)
assert len(topics) == 15
for split, rows in news.items():
    check("tnews", split, [(o["sentence"], [o["label_desc"]]) for o in rows], topics)
check("tnews-unlabelled", "unlabelled",
      [(o["sentence"], []) for o in objects("tnews/unlabeled.json")], topics)
apps = {s: objects(f"iflytek/{f}.json") for s, f in (("train", "train_0"), ("test", "test_public"))}
numbers = sorted({o["label"] for rows in apps.values() for o in rows})  # by value, not by digits
for split, rows in apps.items():
    check("iflytek", split, [(o["sentence"], [str(o["label"])]) for o in rows],
          [str(n) for n in numbers])
