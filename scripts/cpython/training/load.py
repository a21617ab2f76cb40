"""The training load beside CPython's own tests: what programs do all day, where tests mostly try what is rare.

Run by the interpreter with counters (../profile.sh). Each function is one kind of work; ROUNDS keeps them in proportion, so that none
weighs more than a few hundredths of the whole. Nothing here is measured and nothing depends on a clock. Standard library only, from
3.10 on.
"""

import array
import ast
import asyncio
import base64
import bisect
import collections
import configparser
import contextlib
import copy
import csv
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import gc
import hashlib
import heapq
import html
import io
import itertools
import json
import logging
import math
import operator
import os
import pathlib
import pickle
import queue
import random
import re
import socket
import sqlite3
import string
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
import tokenize
import urllib.parse
import weakref
import xml.etree.ElementTree as ElementTree
import zlib

WORDS = "the quick brown fox jumps over a lazy dog while nobody counts lines of this rather ordinary text".split()
TEXT = " ".join(WORDS * 40)
WIDE = "Größe und Maß, été à Paris, δοκιμή, 漢字かな, emoji 🦊 " * 20


class Shape:
    """Plain attributes, methods, properties, inheritance."""

    count = 0

    def __init__(self, width, height):
        self.width = width
        self.height = height
        Shape.count += 1

    @property
    def area(self):
        return self.width * self.height

    def scaled(self, by):
        return type(self)(self.width * by, self.height * by)

    def __eq__(self, other):
        return isinstance(other, Shape) and self.area == other.area

    def __hash__(self):
        return hash((self.width, self.height))

    def __lt__(self, other):
        return self.area < other.area


class Square(Shape):
    __slots__ = ()

    def __init__(self, width, height=None):
        super().__init__(width, width)

    def describe(self, *, name="square", **others):
        return f"{name} of {self.width}x{self.height} with {len(others)}"


@dataclasses.dataclass(order=True)
class Record:
    key: int
    name: str = "none"
    tags: list = dataclasses.field(default_factory=list)


class Colour(enum.Enum):
    RED = 1
    GREEN = 2
    BLUE = 3


def objects():
    shapes = [Square(i % 7) if i % 3 else Shape(i, 2) for i in range(300)]
    for shape in shapes:
        if shape.scaled(2).area > 100 and isinstance(shape, Square):
            shape.describe(name="large", colour=Colour.RED, at=shape.width)
    sorted(shapes)[0], max(shapes), len(set(shapes))
    records = [Record(i * 7919 % 101, str(i), [i]) for i in range(200)]
    records.sort(key=operator.attrgetter("name"))
    sorted(records)
    copy.deepcopy(records[:60])
    [getattr(record, "missing", None) for record in records]


class Task:
    """Objects that call each other: a small event simulation."""

    def __init__(self, name, following=None):
        self.name, self.following, self.queue, self.done = name, following, collections.deque(), 0

    def put(self, item):
        self.queue.append(item)

    def step(self):
        if not self.queue:
            return False
        item = self.queue.popleft()
        self.done += 1
        if self.following is not None and item > 1:
            self.following.put(item - 1)
        return True


def simulation():
    tasks = [Task(f"task{i}") for i in range(8)]
    for task, following in zip(tasks, tasks[1:] + tasks[:1]):
        task.following = following
    for i in range(40):
        tasks[i % 8].put(i % 23)
    while any(task.step() for task in tasks):
        pass


def recursion():
    def fibonacci(n):
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    def tree(depth):
        return None if depth == 0 else (tree(depth - 1), tree(depth - 1))

    def size(node):
        return 1 if node is None else size(node[0]) + size(node[1])

    def place(n, row=0, columns=0, left=0, right=0):
        if row == n:
            return 1
        found = 0
        for column in range(n):
            if not (columns >> column & 1 or left >> (row + column) & 1 or right >> (row - column + n) & 1):
                found += place(n, row + 1, columns | 1 << column, left | 1 << row + column, right | 1 << row - column + n)
        return found

    fibonacci(16), size(tree(10)), place(6)
    sum(1 for _ in itertools.permutations(range(6)))


def floats():
    random_ = random.Random(1)
    bodies = [[random_.random() for _ in range(7)] for _ in range(5)]
    for _ in range(120):
        for first, second in itertools.combinations(bodies, 2):
            dx, dy, dz = first[0] - second[0], first[1] - second[1], first[2] - second[2]
            pull = 0.001 / ((dx * dx + dy * dy + dz * dz) ** 1.5 + 0.01)
            first[3] -= dx * second[6] * pull
            second[3] += dx * first[6] * pull
            first[4] -= dy * second[6] * pull
            second[4] += dy * first[6] * pull
        for body in bodies:
            body[0] += 0.001 * body[3]
            body[1] += 0.001 * body[4]
    size = 24
    left = [[float(i ^ j) for j in range(size)] for i in range(size)]
    [[sum(a * b for a, b in zip(row, column)) for column in zip(*left)] for row in left]
    values = array.array("d", (math.sin(i) * math.sqrt(i) for i in range(1500)))
    for i in range(1, len(values) - 1):
        values[i] = (values[i - 1] + values[i] + values[i + 1]) / 3.0
    for i in range(1, 400):
        math.exp(-i / 50), math.log(i), math.cos(i), math.atan2(i, 3), math.floor(i / 7), round(i / 7, 2), i // 7, i % 7
    [float(repr(value)) for value in values[:300]]
    ["%.3f %g" % (value, value) for value in values[:200]]
    complex_ = [complex(i / 20 - 1, j / 20 - 1) for i in range(25) for j in range(25)]
    for point in complex_:
        z = 0
        for _ in range(12):
            z = z * z + point
            if abs(z) > 2:
                break


def integers():
    bits = 0
    for i in range(4000):
        bits = (bits * 1103515245 + 12345 + i) & 0x7FFFFFFF
        bits ^= bits >> 7
    sieve = bytearray([1]) * 4000
    for i in range(2, 64):
        if sieve[i]:
            sieve[i * i :: i] = bytes(len(range(i * i, len(sieve), i)))
    q, r, t, k, m, x = 1, 0, 1, 1, 3, 3
    for _ in range(500):
        if 4 * q + r - t < m * t:
            q, r, m = 10 * q, 10 * (r - m * t), (10 * (3 * q + r)) // t - 10 * m
        else:
            q, r, t, k, m, x = q * k, (2 * q + r) * x, t * x, k + 1, (q * (7 * k + 2) + r * x) // (t * x), x + 2
    pow(3, 10**30, 10**40 + 7), str(3**900), int("7" * 500), math.gcd(6**80, 10**60), (1 << 700).bit_length()
    flips = list(range(7))
    for _ in range(400):
        first = flips[0]
        flips[: first + 1] = flips[first::-1]
        flips.insert(6, flips.pop(0))


def containers():
    counts = collections.Counter(TEXT.split())
    counts.most_common(5)
    groups = collections.defaultdict(list)
    for i, word in enumerate(WORDS * 12):
        groups[len(word)].append((i, word))
    merged = {**{k: len(v) for k, v in groups.items()}, "x": 1}
    {v: k for k, v in merged.items() if v}
    [key for key in range(2000) if key in merged]
    big = {i * 37 % 1009: i for i in range(1500)}
    for i in range(0, 1500, 3):
        big.pop(i, None)
    sum(big.values()), list(big.items())[:3], sorted(big, reverse=True)[:3]
    words = {word: i for i, word in enumerate(f"key{i}" for i in range(600))}
    for i in range(600):
        words[f"key{i}"] += 1
    left, right = set(range(0, 900, 2)), set(range(0, 900, 3))
    left & right, left | right, left - right, left ^ right, left.issubset(right)
    numbers = [i * 7919 % 1013 for i in range(1500)]
    sorted(numbers), sorted(map(str, numbers)), sorted(numbers, key=lambda n: (n % 10, n))
    numbers[10:500:3], numbers[::-1], numbers + numbers, numbers * 2, numbers.index(7), numbers.count(3)
    heap = []
    for number in numbers[:500]:
        heapq.heappush(heap, (number, str(number)))
    while heap:
        heapq.heappop(heap)
    ordered = []
    for number in numbers[:300]:
        bisect.insort(ordered, number)
    pair = collections.namedtuple("pair", "a b")
    for i in range(300):
        a, b = pair(i, i + 1)
        (c, d), *rest = (a, b), a, b
    ring = collections.deque(range(50), maxlen=60)
    for i in range(400):
        ring.append(i)
        ring.rotate(3)
    grid = [[0] * 20 for _ in range(20)]
    for y, x in itertools.product(range(20), repeat=2):
        grid[y][x] = sum(grid[(y + dy) % 20][(x + dx) % 20] for dy, dx in ((-1, 0), (1, 0), (0, 1))) + x & 3
    list(zip(*grid)), any(map(any, grid)), list(itertools.chain.from_iterable(grid))
    [(k, sum(1 for _ in g)) for k, g in itertools.groupby(sorted(numbers[:300]), key=lambda n: n // 50)]


def generators():
    def numbers(count):
        for i in range(count):
            yield i

    def pairs(source):
        held = None
        for item in source:
            if held is not None:
                yield held, item
            held = item

    def walk(depth):
        if depth:
            yield from walk(depth - 1)
            yield depth
            yield from walk(depth - 1)

    def echo():
        total = 0
        while True:
            total += yield total

    sum(a + b for a, b in pairs(numbers(1500)))
    list(walk(8))
    receiver = echo()
    next(receiver)
    for i in range(400):
        receiver.send(i)

    @contextlib.contextmanager
    def held(name):
        yield name

    for i in range(150):
        with held(i), contextlib.suppress(KeyError):
            raise KeyError(i)
    for i in range(400):
        try:
            if i % 3:
                raise ValueError(i, "no")
            [][i]
        except (ValueError, IndexError) as error:
            str(error)
        finally:
            i += 1


def functions():
    @functools.lru_cache(maxsize=200)
    def cached(a, b=2):
        return a * b

    def many(*args, key=None, **others):
        return len(args) + len(others)

    def outer(step):
        total = 0

        def inner(n):
            nonlocal total
            total += n * step
            return total

        return inner

    add = outer(3)
    for i in range(600):
        cached(i % 250), many(i, i, key=i, other=1), many(*(1, 2, 3), **{"a": 1}), add(i)
    increment = functools.partial(operator.add, 1)
    list(map(increment, range(600))), list(filter(None, range(600))), functools.reduce(operator.xor, range(600))
    [(lambda x, y=1: x + y)(i) for i in range(500)]
    weak = weakref.WeakValueDictionary()
    kept = [Shape(i, i) for i in range(100)]
    for i, shape in enumerate(kept):
        weak[i] = shape
    circle = []
    for _ in range(200):
        circle = [circle, {"self": circle}]
    circle.append(circle)
    del circle, kept
    gc.collect()


def texts():
    lines = textwrap.wrap(TEXT, 60)
    "\n".join(line.strip().title().center(70, "*") for line in lines).splitlines()
    TEXT.replace("fox", "cat").upper().lower().split("a"), TEXT.partition("dog"), TEXT.find("nothing"), TEXT.count("o")
    for word in WORDS * 8:
        word.startswith("qu"), word.endswith(("s", "y")), word.isalpha(), word.encode(), word + "/" + word, word[1:-1], word[::-1]
        "%s=%d" % (word, len(word)), "{:>12}|{!r:<8}".format(word, word), f"{word:^10} {len(word):04d} {3.14159:.2f} {255:x}"
        word == "fox" or word < "m", word.join("ab"), word.rjust(10).lstrip(), hash(word + "x"), ord(word[0]), chr(len(word))
    table = str.maketrans("abc", "xyz", "q")
    TEXT.translate(table), WIDE.translate(table), WIDE.upper().casefold()
    for encoding in ("utf-8", "utf-16", "utf-8", "cp1252"):
        WIDE.encode(encoding, "replace").decode(encoding, "replace")
    TEXT.encode("ascii").decode("latin-1"), WIDE.split(), WIDE.find("🦊"), WIDE[5:500:2], html.escape(TEXT + "<&>"), html.unescape("&lt;&amp;")
    data = TEXT.encode()
    data.split(b" "), data.replace(b"o", b"00"), data.find(b"zzz"), bytes(reversed(data[:300])), data.hex(), bytearray(data).count(b"e")
    buffer = io.StringIO()
    for i in range(300):
        buffer.write(f"{i},{i * i},\n")
    buffer.getvalue()
    string.Template("$name is $age and $$5").substitute(name="Ada", age=36)
    urllib.parse.urlencode({"a": WIDE[:40], "b": 2}), urllib.parse.urlsplit("https://example.org:80/a/b?c=d#e").netloc
    previous = list(range(60))
    for i, a in enumerate(TEXT[:50]):
        row = [i + 1]
        for j, b in enumerate(TEXT[50:109]):
            row.append(min(previous[j + 1] + 1, row[j] + 1, previous[j] + (a != b)))
        previous = row


PATTERNS = [re.compile(p) for p in (
    r"\b(\w+)\s+\1\b", r"[a-z]+ing\b", r"(?P<key>\w+)=(?P<value>[^;]*);?", r"^\s*(#.*)?$", r"(\d{1,3}\.){3}\d{1,3}",
    r"(?i)fox|dog|cat", r"<([a-z]+)[^>]*>(.*?)</\1>", r"[^\s@]+@[^\s@]+\.[a-z]{2,}", r"\d{4}-\d\d-\d\dT\d\d:\d\d")]


def patterns():
    text = TEXT[:900] + " key=value;name=Ada; 10.0.0.1 <b>bold</b> ada@example.org 2026-01-01T00:00 # end\n"
    for pattern in PATTERNS:
        pattern.search(text), pattern.findall(text), [match.span() for match in pattern.finditer(text)], pattern.sub("_", text)
    re.split(r"[,\s]+", text), re.sub(r"(\w)(\w)", lambda match: match[2] + match[1], text[:200]), PATTERNS[7].search(WIDE)
    scanner = re.compile(r"(?P<number>\d+(\.\d*)?)|(?P<name>[A-Za-z_]\w*)|(?P<operator>[-+*/=()])|(?P<space>\s+)|(?P<other>.)")
    for match in scanner.finditer("total = price * (count + 12.5) / rate - 7 " * 12):
        match.lastgroup, match.group()
    re.purge()
    re.compile(r"(a|b)*c{2,3}[^d-f]+(?:x|yz)?$"), re.compile(r"(?P<year>\d{4})-(?P<month>\d\d)")


def documents():
    document = {"id": 1, "name": "Größe", "items": [{"n": i, "f": i / 7, "t": WORDS[i % 9], "ok": i % 2 == 0, "none": None} for i in range(60)]}
    for _ in range(3):
        encoded = json.dumps(document)
        json.loads(encoded), json.dumps(document, indent=2, sort_keys=True), json.dumps(WIDE, ensure_ascii=False)
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        pickle.loads(pickle.dumps(document, protocol))
    pickle.loads(pickle.dumps([Record(i, "x", [i]) for i in range(80)]))
    stream = io.BytesIO()
    pickle._Pickler(stream).dump(document["items"][:20])
    pickle._Unpickler(io.BytesIO(stream.getvalue())).load()
    root = ElementTree.Element("list", version="1")
    for item in document["items"]:
        child = ElementTree.SubElement(root, "item", n=str(item["n"]))
        child.text = item["t"] + " & more"
    serialized = ElementTree.tostring(root)
    [child.get("n") for child in ElementTree.fromstring(serialized).iter("item")]
    [event for event, _ in ElementTree.iterparse(io.BytesIO(serialized), ("start", "end"))], root.findall("./item[@n='3']")
    rows = io.StringIO()
    writer = csv.writer(rows)
    writer.writerows((i, WORDS[i % 9], i / 3, "a,b") for i in range(150))
    list(csv.reader(io.StringIO(rows.getvalue())))
    parser = configparser.ConfigParser()
    parser.read_string("[a]\nb = 1\nc = %(b)s\n[d]\ne: yes\n")
    parser["a"]["c"], parser.getboolean("d", "e")
    for i in range(150):
        packed = struct.pack("<IhQd4s", i, -i, i << 40, i / 3, b"abcd")
        struct.unpack("<IhQd4s", packed)


def numbers_and_dates():
    decimal.getcontext().prec = 28
    total = decimal.Decimal(0)
    for i in range(1, 400):
        total += (decimal.Decimal(i) / 7).quantize(decimal.Decimal("0.01"))
        total *= decimal.Decimal("1.0001")
    str(total), total.sqrt(), sum(fractions.Fraction(1, i) for i in range(1, 40))
    start = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.timezone.utc)
    for i in range(200):
        moment = start + datetime.timedelta(days=i, seconds=i)
        moment.isoformat(), moment.strftime("%Y-%m-%d %H:%M"), moment - start, moment < start, moment.replace(day=2).weekday()
    [datetime.datetime.fromisoformat("2026-01-02T03:04:05") for _ in range(80)]
    datetime.datetime.strptime("2026-01-02", "%Y-%m-%d")
    random_ = random.Random(7)
    [random_.randint(1, 6) for _ in range(500)], random_.sample(range(100), 10), random_.gauss(0, 1), random_.shuffle(list(range(200)))


def bytes_and_digests():
    data = (TEXT + WIDE).encode()
    for name in ("md5", "sha1", "sha256", "sha3_256", "blake2b"):
        hashlib.new(name, data).hexdigest()
    zlib.decompress(zlib.compress(data)), zlib.crc32(data), base64.b64decode(base64.b64encode(data)), data.hex()
    view = memoryview(bytearray(data))
    view[10:20], bytes(view[::2]), view[5], sum(view[:200])
    table = [i * 3 & 255 for i in range(256)]
    block = list(data[:256])
    for _ in range(6):
        block = [table[b] ^ block[i - 1] for i, b in enumerate(block)]


def sources(text):
    tree = ast.parse(text)
    code = compile(tree, "load", "exec")
    sum(isinstance(node, ast.Name) for node in ast.walk(tree)), code.co_consts[:1]
    list(tokenize.generate_tokens(io.StringIO(text[:4000]).readline))
    scope = {}
    exec("def f(a, b=2):\n    return [a * i for i in range(b)]\nclass C:\n    x = f(1)\n", scope)
    eval("f(3) + [1, 2]", scope)


def files(place):
    path = pathlib.Path(place) / "lines.txt"
    path.write_text("".join(f"{i} {WORDS[i % 9]}\n" for i in range(600)))
    with path.open() as lines:
        sum(int(line.split()[0]) for line in lines)
    with open(path, "rb") as raw:
        while raw.read(512):
            pass
    for i in range(20):
        (path.parent / f"file{i}.txt").touch()
    sorted(entry.name for entry in os.scandir(place)), [p.suffix for p in path.parent.glob("*.txt")], path.stat().st_size
    os.path.join(place, "a", "..", "b"), os.path.normpath(place + "/a/../b"), os.path.splitext("a.tar.gz"), list(os.walk(place))
    logger = logging.Logger("load", logging.INFO)
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    for i in range(120):
        logger.debug("not shown %d", i)
        logger.info("item %d of %s", i, "many")
    with sqlite3.connect(":memory:") as database:
        database.execute("create table t (id integer primary key, name text, value real)")
        database.executemany("insert into t (name, value) values (?, ?)", ((WORDS[i % 9], i / 7) for i in range(300)))
        database.execute("select name, count(*), sum(value) from t group by name order by 2 desc").fetchall()
        [row for row in database.execute("select * from t where name like 'q%' and value > ?", (3.5,))]


def concurrency():
    async def leaf(n):
        await asyncio.sleep(0)
        return n

    async def branch(depth):
        if depth == 0:
            return await leaf(1)
        return sum(await asyncio.gather(branch(depth - 1), branch(depth - 1), leaf(depth)))

    async def server():
        async def answer(reader, writer):
            while line := await reader.readline():
                writer.write(line)
            writer.close()

        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        other = asyncio.ensure_future(answer(*await asyncio.open_connection(sock=theirs)))
        for i in range(60):
            writer.write(b"line %d\n" % i)
            await reader.readline()
        writer.close()
        await other

    asyncio.run(branch(6))
    asyncio.run(server())
    work, done, lock = queue.Queue(), [], threading.Lock()

    def worker():
        while (item := work.get()) is not None:
            with lock:
                done.append(item * 2)

    threads = [threading.Thread(target=worker) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(300):
        work.put(i)
    for _ in threads:
        work.put(None)
    for thread in threads:
        thread.join()


def starts():
    """Most runs of an interpreter are short: its start is a load of its own."""
    for arguments in (["-c", "pass"], ["-S", "-c", "pass"], ["-I", "-c", "import json, re, argparse, subprocess, asyncio, ssl, unittest"]):
        for _ in range(4):
            subprocess.run([sys.executable, *arguments], check=True)


ROUNDS = [
    (objects, 130), (simulation, 800), (recursion, 400), (floats, 80), (integers, 200), (containers, 120), (generators, 400),
    (functions, 50), (texts, 100), (patterns, 160), (documents, 90), (numbers_and_dates, 200), (bytes_and_digests, 200),
    (concurrency, 60), (starts, 10)]


def main():
    for act, rounds in ROUNDS:
        for _ in range(rounds):
            act()
    text = pathlib.Path(__file__).read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as place:
        for _ in range(12):
            sources(text)
            files(place)


if __name__ == "__main__":
    main()
