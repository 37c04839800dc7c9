#!/bin/bash
# report: one page per run, in any state of the run; equal runs give equal bytes; its figures are
# those of `run --json`; nothing that a run names is markup.
. "$(dirname "$0")/tiny_plan.sh"

mv pictures/class-3 "pictures/<b>&'quot\""
cat >compared.ini <<'PLAN'
[plan]
threads = 1

[data]
stage = pack
from = folder
source = ${REPORT_TEST_PICTURES}
split = train=rest,test=2

[teacher]
stage = train
seeds = 1..3
data = @data
model = mlp
hidden = 8
epochs = 1
batch = 16
micro-shards = 4

[logits]
stage = teach
data = @data
model = @teacher
top-k = 2

[hard]
stage = train
seeds = 1..3
data = @data
validation = test
model = mlp
hidden = 3
epochs = 2
evaluate-every = 1
batch = 16
micro-shards = 4

[student]
stage = distill
data = @data
validation = test
logits = @logits
model = mlp
hidden = 3
epochs = 2
evaluate-every = 1
batch = 16
micro-shards = 4

[teacher-test]
stage = evaluate
data = @data
model = @teacher

[hard-test]
stage = evaluate
data = @data
model = @hard

[student-test]
stage = evaluate
data = @data
model = @student
PLAN

export REPORT_TEST_PICTURES=pictures

# A run that has only begun, and one that failed.
run 65 run compared.ini --set teacher.learning-rate=1e30 --out broken
run 0 report broken --json
python3 - out broken/report.html <<'PYTHON' || fail "the report of a failed run"
import json, pathlib, sys
states = {row["name"]: row for row in json.loads(pathlib.Path(sys.argv[1]).read_text())["sections"]}
page = pathlib.Path(sys.argv[2]).read_text()
assert states["data"]["state"] == "complete", states
assert states["teacher/seed-1"]["state"] == "failed", states
assert states["student/seed-3"]["state"] == "not started", states
assert "not finite" in states["teacher/seed-1"]["failure"], states
assert "teacher/seed-1 <span class=\"bad\">failed</span>: " in page
PYTHON

run 0 run compared.ini --out r --json
cp out run.json
run 0 report r --json
cp out report.json
cp r/report.html first.html
run 0 report r --out second.html
says second.html
cmp -s first.html second.html || fail "two reports of one run differ"
# What the plan takes from the environment is in the run folder: the page needs none of it.
REPORT_TEST_PICTURES=elsewhere run 0 report r --out other.html
cmp -s first.html other.html || fail "another value of the variable changes the page"
unset REPORT_TEST_PICTURES
run 0 report r --out bare.html
cmp -s first.html bare.html || fail "the page differs where the variable is not set"
run 0 resume r --dry-run
says "up to date"
cp -r r kept-before  # as kept by programs that did not list the sections or keep the plan
python3 - kept-before/.plan/settings.json <<'PYTHON'
import hashlib, json, pathlib, sys
file = pathlib.Path(sys.argv[1])
settings = json.loads(file.read_text())
assert [row["name"] for row in settings.pop("sections")][:2] == ["data", "teacher/seed-1"]
assert settings.pop("plan") and settings.pop("variables") == {"REPORT_TEST_PICTURES": "pictures"}
del settings["checksum"]
text = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
settings["checksum"] = hashlib.sha256(text.encode()).hexdigest()
file.write_text(json.dumps(settings, sort_keys=True, indent=1, ensure_ascii=False) + "\n")
PYTHON
run 0 report kept-before --out before.html
cmp -s first.html <(sed 's/kept-before/r/g' before.html) || fail "the page of an older run folder differs"
export REPORT_TEST_PICTURES=pictures
python3 - run.json report.json first.html <<'PYTHON' || fail "the report of a finished run"
import html.parser, json, pathlib, statistics, sys
run, report = (json.loads(pathlib.Path(name).read_text()) for name in sys.argv[1:3])
page = pathlib.Path(sys.argv[3]).read_text()

key = lambda row: (row["section"], row["metric"])
ours = {key(row): row for row in report["summary"]}
for row in run["summary"]:
    for field in ("mean", "deviation", "seeds"):
        assert ours[key(row)].get(field) == row.get(field), (row, ours[key(row)])

# The comparison by hand, from the results of the sections.
top1 = {row["name"]: row["results"].get("top1") for row in run["sections"]}
gains = [top1[f"student-test/seed-{s}"] - top1[f"hard-test/seed-{s}"] for s in (1, 2, 3)]
comparison = report["comparisons"][0]
assert comparison["metric"] == "top1" and comparison["scored_on"] == "@data, split test", comparison
assert [row["role"] for row in comparison["rows"]] == ["teacher", "hard labels", "distilled"]
[difference] = comparison["differences"]
assert (difference["section"], difference["minus"]) == ("student", "hard"), difference
assert abs(difference["mean"] - statistics.mean(gains)) < 1e-12
half = 4.302652729911275 * statistics.stdev(gains) / 3 ** 0.5
low, high = difference["interval"]
assert abs(high - low - 2 * half) < 1e-9 and abs(high + low - 2 * difference["mean"]) < 1e-9
text = f"{100 * abs(difference['mean']):.2f}"
assert text in page, text

class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.links, self.open = {}, [], []
    def handle_starttag(self, tag, attributes):
        self.found[tag] = self.found.get(tag, 0) + 1
        self.links += [value for name, value in attributes if name in ("src", "href", "action", "data")]
        if tag not in ("meta", "link", "img", "br", "wbr"): self.open.append(tag)
    def handle_startendtag(self, tag, attributes):
        self.found[tag] = self.found.get(tag, 0) + 1
    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

tags = Tags()
tags.feed(page)
assert not tags.open, tags.open
assert all(link.startswith(("#", "data:")) for link in tags.links), tags.links
assert "http" not in page.replace("http-equiv", ""), "something outside is named"
assert tags.found["script"] == 1 and "b" not in tags.found, tags.found
assert tags.found["svg"] > 10 and tags.found["polyline"] > 10, tags.found
assert tags.found["img"] > 0, "no picture of a wrong answer"
assert "&lt;b&gt;&amp;&#39;quot&quot;" in page
for name in ("comparison", "results", "training", "classes", "time", "sections", "environment"):
    assert f'<section id="{name}">' in page, name
for digest in [row["content_digest"] for row in report["sections"]]:
    assert digest in page, digest
PYTHON

# The examples of wrong answers fit the counts.
python3 - r <<'PYTHON' || fail "the examples of wrong answers"
import collections, json, pathlib, sys
shown = 0
for file in pathlib.Path(sys.argv[1]).glob("*-test/seed-*/details.json"):
    details = json.loads(file.read_text())
    classes = details["classes"]
    by_class = collections.defaultdict(list)
    for example in details["examples"]:
        by_class[example["class"]].append(example)
    for label, entry in enumerate(classes):
        examples = by_class[label]
        assert len(examples) == min(4, entry["samples"] - entry["right"]), (file, label, examples)
        confidence = [e["confidence"] for e in examples]
        assert confidence == sorted(confidence, reverse=True) and all(0 < c <= 1 for c in confidence), examples
        assert len({e["sample"] for e in examples}) == len(examples), examples
        for e in examples:
            assert e["predicted"] != label and 0 <= e["sample"] < sum(c["samples"] for c in classes), e
            assert any((c["gold"], c["predicted"]) == (entry["name"], classes[e["predicted"]]["name"])
                       for c in details["confusions"]), e
        shown += len(examples)
assert shown > 0
PYTHON
run 0 evaluate --model r/hard/seed-1 --data r/data --examples 0 --out hidden
grep -q '"examples": \[\]' hidden/details.json || fail "--examples 0 lists samples"
python3 - out hidden/details.json <<'PYTHON' || fail "the worst classes in words"
import json, pathlib, sys
lines = pathlib.Path(sys.argv[1]).read_text().splitlines()
details = json.loads(pathlib.Path(sys.argv[2]).read_text())
worst = sorted(details["classes"], key=lambda c: c["right"] / c["samples"])
assert "lowest recall: " + "; ".join(f"{c['name']} {c['right']}/{c['samples']}" for c in worst) in lines, lines
pairs = "; ".join(f"{c['gold']} as {c['predicted']} {c['count']}x" for c in details["confusions"])
assert pairs and "most confused (gold as predicted): " + pairs in lines, lines
PYTHON

# The folder of one section, and a folder without anything.
run 0 report r/hard/seed-2
grep -q '<section id="training">' r/hard/seed-2/report.html || fail "no curves of a single section"
mkdir empty
run 65 report empty
warns "nothing to report"
run 64 report nowhere
warns "no such folder"

# The report is no part of the result.
run 0 run compared.ini --out r
silent_about "done in"
run 0 check r
