"""What a step costs on P ranks: bytes and messages of the whole job, memory, time. docs/scale.md says why."""
import math
from dataclasses import dataclass

SEGMENT = 131072       # elements of a message (comm/tree_reducer.cpp)
DIRECT_ELEMENTS, DIRECT_RANKS = 4096, 16
BUCKET = 262144        # --bucket-elements
FLOAT, DOUBLE, COUNT, ID = 4, 8, 8, 4
UNLISTED = 16          # bytes a row: the gradient on classes that it does not name


@dataclass
class Traffic:
    """Of all ranks together: bytes that arrive, messages between two ranks; collectives of one rank."""
    bytes: float = 0
    messages: float = 0
    collectives: float = 0

    def __add__(self, other):
        return Traffic(self.bytes + other.bytes, self.messages + other.messages,
                       self.collectives + other.collectives)

    def __sub__(self, other):
        return self + Traffic(-other.bytes, -other.messages, -other.collectives)

    def __truediv__(self, n):
        return Traffic(self.bytes / n, self.messages / n, self.collectives / n)


def partition(total, parts, index):
    base, extra = divmod(total, parts)
    begin = index * base + min(index, extra)
    return begin, begin + base + (index < extra)


def cover(begin, end):
    """The number of maximal nodes of a binary tree that cover the leaves [begin, end)."""
    nodes = 0
    while begin < end:
        size = begin & -begin or 1 << end.bit_length()
        while begin + size > end:
            size //= 2
        begin += size
        nodes += 1
    return nodes


def nodes_of(leaves, ranks):
    return [cover(*partition(leaves, ranks, rank)) for rank in range(ranks)]


def tree_sum(elements, width, leaves, ranks):
    """comm/tree_reducer: the parts of all ranks to the owners of slices, and the sums to everybody."""
    if ranks == 1:
        return Traffic()
    parts = sum(nodes_of(leaves, ranks))
    if elements <= DIRECT_ELEMENTS and ranks <= DIRECT_RANKS:
        return Traffic(parts * elements * (ranks - 1) * width, parts * (ranks - 1))
    rounds = math.ceil(math.ceil(elements / ranks) / SEGMENT)
    return Traffic((parts + ranks) * elements * (ranks - 1) / ranks * width,
                   rounds * (parts + ranks) * (ranks - 1))


def tree_scatter(longest, elements, width, leaves, ranks):
    """The same, each rank gets its slice of the sum alone; `longest`: elements of a slice."""
    if ranks == 1:
        return Traffic()
    parts = sum(nodes_of(leaves, ranks))
    rounds = math.ceil(longest / SEGMENT)
    return Traffic(parts * elements * (ranks - 1) / ranks * width, rounds * parts * (ranks - 1))


def gather(bytes_of_all, ranks):
    """Texts of any length: lengths first (comm/mpi_backend)."""
    return Traffic((ranks - 1) * bytes_of_all + ranks * (ranks - 1) * COUNT, 0, 2)


def agree(numbers, ranks):
    """An all-reduce: its numbers arrive on every rank."""
    return Traffic(ranks * numbers * COUNT, 0, 1)


def buckets(parameters):
    """Elements of each, from the last parameter to the first."""
    sizes, open_bucket = [], 0
    for elements in reversed(parameters):
        open_bucket += elements
        if open_bucket >= BUCKET:
            sizes.append(open_bucket)
            open_bucket = 0
    return sizes + ([open_bucket] if open_bucket else [])


def gradients(parameters, shards, ranks):
    total = Traffic()
    for elements in buckets(parameters):
        total += tree_sum(elements, FLOAT, shards, ranks)
    return total


def step(shards, ranks):
    """Losses of a step, and the agreement on stopping after it."""
    return tree_sum(STEP_SUMS, DOUBLE, shards, ranks) + agree(1, ranks)


STEP_SUMS = 8  # of a micro-shard: losses, rows, a checksum of the sample ids (stages/step_sums.cpp)


def tiles(classes):
    """nn/class_head/class_tiles: at most 1,024 classes each, 64 at least where there are so many."""
    return max(min(64, 1 << (classes.bit_length() - 1)), 1 << math.ceil(math.log2(max(1, classes / 1024))))


def sharded_head(classes, features, rows, listed, ranks, sums=1):
    """`listed`: classes that a row names; `sums`: numbers a row beside its listed logits."""
    if ranks == 1:
        return Traffic()
    leaves = tiles(classes)
    total = gather(rows * features * FLOAT, ranks)                     # embeddings
    total += gather(rows * COUNT, ranks) + gather(rows * listed * ID, ranks)
    total += Traffic(ranks * (ranks - 1) * COUNT, 0, 1)                # rows of each rank
    total += agree(2, ranks) + agree(rows, ranks) + agree(1, ranks)    # what is wanted, highest logits, taking part
    total += tree_sum(rows * (sums + listed), DOUBLE, leaves, ranks)
    total += gather(rows * UNLISTED, ranks) + gather(rows * listed * FLOAT, ranks)
    # The gradient on the embeddings.
    total += tree_scatter(math.ceil(rows / ranks) * features, rows * features, FLOAT, leaves, ranks)
    return total


FILE = 256 << 20         # bytes of a file of tensors at most
NAME = 100               # bytes of a class's name and what is kept beside it, measured


def head_memory(classes, features, states, ranks):
    """The most that rank 0 holds of the head: its part, and a copy of it on its way to the disk; or, at the end of the
    training, two files of the model that it writes."""
    weight = classes * features * FLOAT
    part = weight * (1 + states) / ranks
    return part + max(part, 2 * min(weight, FILE)) + classes * NAME


def column_bytes(features):
    return features * FLOAT + DOUBLE + 1


def row_bytes(entries):
    """An exact sum of 192 bits; cosine and id of each entry; how many there are."""
    return 24 + entries * (DOUBLE + ID) + ID


def smooth(classes, features, top_m, edge, ranks, schedule):
    """Tiles that visit, and what was found for them that goes home."""
    count = math.ceil(classes / edge)
    size = lambda side: min(classes, side[1] * edge) - min(classes, side[0] * edge)
    columns = rows = messages = 0
    for sides in meetings(count, ranks, schedule):
        for owner, visits in sides:
            columns += size(visits) * column_bytes(features)
            rows += size(visits) * row_bytes(top_m - 1)
            messages += (visits[1] - visits[0]) * 7
    written = to_writers(classes, top_m, edge, ranks)
    return Traffic(columns + rows, messages) + written


def place_bytes(features, top_m):
    """A class that meets others in fp32: its column as it is and divided by its norm; its row; candidates; pairs that
    wait for its tile: of an eighth of the rows half of what they keep, in a list that doubles."""
    return column_bytes(features) + features * FLOAT + row_bytes(top_m - 1) + DOUBLE + \
        (2 * (top_m - 1) + 32) * (FLOAT + ID) + FLOAT + ID + (top_m - 1) * (2 * ID + DOUBLE) // 8


def file_rows(classes, top_m):
    """Classes of a file of label rows."""
    return min(classes, 1 << 21, (1 << 22) // top_m)


def smooth_memory(classes, features, top_m, edge, ranks, schedule):
    """The most that a rank holds: its tiles and those that visit, then what comes next, or a file that it writes."""
    count = math.ceil(classes / edge)
    size = lambda side: max(0, min(classes, side[1] * edge) - min(classes, side[0] * edge))
    row, entry = row_bytes(top_m - 1) + DOUBLE, FLOAT + DOUBLE
    written = file_rows(classes, top_m) * (row + 2 * (53 + top_m * entry))
    mine = [partition(count, ranks, rank) for rank in range(ranks)]
    own = [size(side) for side in mine]
    begins = range(0, classes, file_rows(classes, top_m))
    writer = [any(side[0] * edge <= first < side[1] * edge for first in begins) for side in mine]
    steps = meetings_of_ranks(count, ranks, schedule)
    most = 0
    for rank in range(ranks):
        visits = [sum(size(side) for _, side in step[rank]) for step in steps]
        for at, visiting in enumerate(visits or [0]):
            coming = visits[at + 1] if at + 1 < len(visits) else 0
            meeting = coming * column_bytes(features) + (own[rank] * row if visiting else 0)
            most = max(most, (own[rank] + visiting) * place_bytes(features, top_m) + meeting)
        # The last visitors are still there.
        last = visits[-1] if visits else 0
        most = max(most, (own[rank] + last) * place_bytes(features, top_m) + (written if writer[rank] else 0))
    return most + classes * NAME


def meetings_of_ranks(count, ranks, schedule):
    """meetings() by step and rank."""
    sides = list(meetings(count, ranks, schedule))
    if schedule == "ring":
        return [sides[at:at + ranks] for at in range(0, len(sides), ranks)]
    return [sides + [[]] * (ranks - len(sides))]


def to_writers(classes, top_m, edge, ranks):
    """A file of label rows is written by the rank that has its first class."""
    count, per_file = math.ceil(classes / edge), file_rows(classes, top_m)
    total = Traffic()
    own = [partition(count, ranks, rank) for rank in range(ranks)]
    for first in range(0, classes, per_file):
        last = min(classes, first + per_file)
        writer = next(i for i, (a, b) in enumerate(own) if a * edge <= first < b * edge)
        for rank, (a, b) in enumerate(own):
            for tile in range(a, b):
                rows = min(last, (tile + 1) * edge, classes) - max(first, tile * edge)
                if rank != writer and rows > 0:
                    total += Traffic(rows * (row_bytes(top_m - 1) + 1), 5)
    return total


def meetings(count, ranks, schedule):
    """For each rank and step the ranges of tiles that come to it, by owner."""
    own = [partition(count, ranks, rank) for rank in range(ranks)]
    if schedule == "ring":
        for distance in range(1, ranks // 2 + 1):
            for rank in range(ranks):
                there = (rank + distance) % ranks
                yield [(there, own[there])]
        return
    panels = max(q for q in range(1, ranks + 1) if q * (q + 1) // 2 <= ranks)
    pairs = [(a, b) for b in range(panels) for a in range(b + 1)]
    for rank, pair in enumerate(pairs):
        sides = []
        for panel in sorted(set(pair)):
            begin, end = partition(count, panels, panel)
            for owner in range(ranks):
                first, last = max(begin, own[owner][0]), min(end, own[owner][1])
                if owner != rank and first < last:
                    sides.append((owner, (first, last)))
        yield sides


# ---- the tables of docs/scale.md: what a cluster is taken to be

CORES = 16               # of a rank
CORE_FLOPS = 100e9       # of a core in products: docs/results.md, "A head divided by classes" and "Similar classes"
LINK = 12.5e9            # bytes a second that a rank can receive: 100 Gbit/s
LATENCY = 5e-6           # seconds a message
HBM = 10e9               # bytes a second and core of memory that an optimiser passes over
ROWS, WIDTH, LISTED = 64, 512, 1  # of a rank's batch; of an embedding; classes that a row names
WORLDS = (8, 64, 256, 1024)
BEGIN, END = "<!-- tables: scripts/traffic --page -->", "<!-- end of tables -->"


def exchange_seconds(traffic, ranks):
    return traffic.bytes / ranks / LINK + traffic.messages / ranks * LATENCY


def head_row(classes, ranks):
    rows = ROWS * ranks
    flops = 8 * rows * WIDTH * classes / ranks           # logits twice, weight and embedding gradients
    states = 2                                           # momentum, average
    state = (1 + states) * classes * WIDTH * FLOAT / ranks
    traffic = sharded_head(classes, WIDTH, rows, LISTED, ranks)
    compute = flops / (CORES * CORE_FLOPS) + 2 * state / (CORES * HBM)
    share = rows * WIDTH * FLOAT * (1 + sum(nodes_of(tiles(classes), ranks)) / ranks)
    memory = head_memory(classes, WIDTH, states, ranks) + share
    return memory, traffic, compute, exchange_seconds(traffic, ranks)


def whole_row(classes, ranks):
    weight = classes * WIDTH
    traffic = gradients([weight, classes], ranks, ranks)
    compute = 6 * ROWS * WIDTH * classes / (CORES * CORE_FLOPS) + 6 * weight * FLOAT / (CORES * HBM)
    return 5 * weight * FLOAT + ROWS * classes * FLOAT, traffic, compute, exchange_seconds(traffic, ranks)


def smooth_row(classes, ranks, schedule, top_m=100, edge=2016):
    traffic = smooth(classes, WIDTH, top_m, edge, ranks, schedule)
    workers = min(ranks, math.ceil(classes / edge))      # a rank without a tile rests
    if schedule == "panels":
        panels = max(q for q in range(1, ranks + 1) if q * (q + 1) // 2 <= ranks)
        workers = panels * panels / 2
    compute = classes * classes * WIDTH / workers / (CORES * CORE_FLOPS)
    memory = smooth_memory(classes, WIDTH, top_m, edge, ranks, schedule)
    return memory, traffic, compute, exchange_seconds(traffic, ranks)


def amount(value, unit="B"):
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def seconds(value):
    if value >= 100:
        return f"{value / 60:.3g} min"
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def table(title, row):
    lines = [f"**{title}**", "",
             "| classes | ranks | memory a rank | bytes a rank | messages a rank | computing | exchange |",
             "|---|---|---|---|---|---|---|"]
    for classes in (10**6, 10**7):
        for ranks in WORLDS:
            memory, traffic, compute, exchange = row(classes, ranks)
            lines.append(f"| {classes:,} | {ranks:,} | {amount(memory)} | {amount(traffic.bytes / ranks)} | "
                         f"{traffic.messages / ranks:,.0f} | {seconds(compute)} | {seconds(exchange)} |")
    return lines + [""]


def write_page(page, check):
    text = page.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    lines = (table("A step with the head divided by classes", head_row) +
             table("A step with a whole head on each rank", whole_row) +
             table("smooth, ring", lambda classes, ranks: smooth_row(classes, ranks, "ring")) +
             table("smooth, panels", lambda classes, ranks: smooth_row(classes, ranks, "panels")))
    new = text[:begin] + "\n" + "\n".join(lines) + text[end:]
    if check:
        return 0 if new == text else "docs/scale.md is not what scripts/costs.py says: scripts/traffic --page"
    page.write_text(new)
    return 0
