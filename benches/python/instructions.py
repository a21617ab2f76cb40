#!/usr/bin/env python3
"""Counts the instructions of small loops under two Pythons or more: what a busy machine cannot blur.

    benches/python/instructions.py /usr/bin/python3.11 opt/python/bin/python3.11 [OTHER …]

Needs valgrind (its tool lackey). Each loop runs with N rounds and with 2 N; the difference over N is what one round costs, so
that the start of the interpreter is in none of them. The first interpreter is what the others are divided by. Instructions are
not time: caches, branches and libraries have their say, too (compare.py). They tell what a compiler flag has done.
"""

import math
import os
import re
import statistics
import subprocess
import sys

LOOPS = {
    "floats": (3000, """
def run(n):
    x = [[1.0, 2.0, 3.0], [0.1, 0.2, 0.3]]
    for _ in range(n):
        (a, b, c), (d, e, f) = x
        dx = a - d; dy = b - e; dz = c - f
        m = 0.01 * ((dx * dx + dy * dy + dz * dz) ** -1.5)
        x[0][0] -= dx * m; x[0][1] -= dy * m; x[0][2] -= dz * m
        x[1][0] += dx * m; x[1][1] += dy * m; x[1][2] += dz * m
"""),
    "calls": (6000, """
class A:
    __slots__ = ("v",)
    def __init__(self, v): self.v = v
    def get(self): return self.v
def run(n):
    s = 0
    for i in range(n):
        s += A(i).get()
"""),
    "large integers": (700, """
def run(n):
    a = 1
    for i in range(1, n): a = a * (2 * i + 1) + i
"""),
    "dictionaries": (8000, """
def run(n):
    d = {}
    for i in range(n):
        k = str(i % 1000); d[k] = d.get(k, 0) + 1
"""),
    "strings": (4000, """
def run(n):
    for i in range(n): ("%d-%s" % (i, "abc")).encode().decode().replace("a", "b").split("-")
"""),
    "regular expressions": (40, """
import re
p = re.compile(r"(\\w+)@(\\w+)\\.com|\\d{2,4}-\\d+")
t = "hello foo@bar.com and 1234-567 some words " * 20
def run(n):
    for _ in range(n): p.findall(t)
"""),
    "json": (40, """
import json
d = {"a": [1, 2.5, "x" * 20, None, True] * 20, "b": {str(i): i for i in range(50)}}
def run(n):
    for _ in range(n): json.loads(json.dumps(d))
"""),
    "pickle": (100, """
import pickle
d = {"a": [1, 2.5, "x" * 20, None, True] * 20, "b": {str(i): i for i in range(50)}}
def run(n):
    for _ in range(n): pickle.loads(pickle.dumps(d, 5))
"""),
    "xml": (10, """
import xml.etree.ElementTree as E
t = "<r>" + "".join(f"<i a='{i}'><b>{i}</b>text</i>" for i in range(100)) + "</r>"
def run(n):
    for _ in range(n): E.fromstring(t)
"""),
}


def count(python, loop, rounds):
    # The entry of a release starts the interpreter through its own loader: of the programs that run, it is the one that does most.
    command = ["valgrind", "--tool=lackey", "--basic-counts=yes", "--trace-children=yes", python, "-c", f"{loop}\nrun({rounds})"]
    done = subprocess.run(command, env={"PATH": os.defpath, "PYTHONHASHSEED": "0"}, capture_output=True, text=True)
    found = [int(number.replace(",", "")) for number in re.findall(r"guest instrs:\s+([\d,]+)", done.stderr)]
    if done.returncode or not found:
        sys.exit(f"{python}: {done.stderr.strip()[-500:]}")
    return max(found)


def main():
    pythons = sys.argv[1:]
    if len(pythons) < 2 or pythons[0].startswith("-"):
        sys.exit(__doc__)
    print(f"{'instructions of a round':24} {'first':>9} " + " ".join(f"{number:>6}" for number in range(2, len(pythons) + 1)), flush=True)
    ratios = []
    for name, (rounds, loop) in LOOPS.items():
        first, *others = ((count(python, loop, 2 * rounds) - count(python, loop, rounds)) / rounds for python in pythons)
        ratios.append([other / first for other in others])
        print(f"{name:24} {first:9.0f} " + " ".join(f"{ratio:6.3f}" for ratio in ratios[-1]), flush=True)
    means = [math.exp(statistics.fmean(map(math.log, column))) for column in zip(*ratios)]
    print(f"{'geometric mean':24} {'':9} " + " ".join(f"{mean:6.3f}" for mean in means))


if __name__ == "__main__":
    main()
