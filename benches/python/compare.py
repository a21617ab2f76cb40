#!/usr/bin/env python3
"""Compares a release tree with another Python of the same series: pyperformance and start-up, both in one run on one machine.

    benches/python/compare.py dist/release-3.11-x86_64.tar.gz
    benches/python/compare.py TARBALL --reference /usr/bin/python3.11 --rounds 3 --benchmarks json_dumps,nbody

Needs Python 3.11 or newer to run itself, a reference with venv (Debian: python3.11, python3.11-venv; python3.11-dev for benchmarks that
compile), and PyPI. The benchmarks are pyperformance's own, of the release named below, each run by pyperf in a virtual environment of
each interpreter with the packages that pyperformance pins. They do not run one interpreter after the other but by turns, round by round,
so that a machine that is busier for a while is so for both; a round takes the same number of loops on both sides.

The table says time of ours divided by time of the reference: below 1 is faster. `median` is of the medians of all rounds, `best` of the
shortest times, which on a busy machine is the steadier one. With --clock processor it is processor time that is counted, for machines
that never rest; what works in other processes cannot be measured so and is left out. A benchmark that cannot be installed or fails on one side is skipped on both,
with the reason. Results are kept in --work and not measured again, so that a run can be continued; --again forgets them.
"""

import argparse
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tarfile
import time
import tomllib

PYPERFORMANCE = "1.11.0"
STARTS = (["-c", "pass"], ["-S", "-c", "pass"], ["-I", "-c", "pass"], ["-I", "-S", "-c", "pass"])
IMPORTS = ["-c", "import json, re, argparse, subprocess, asyncio, ssl, logging, typing, dataclasses"]
# For what is too short to say much in a single value, or long by nature.
VALUES = 3
TIMEOUT = 1200
# They measure the start of the interpreter, which is measured below, with all the flags.
LEFT_OUT = {"python_startup", "python_startup_no_site", "hg_startup"}


# Lets pyperf and the benchmarks count processor time: a line of a .pth file, run when a virtual environment's interpreter starts.
CLOCK = "import os, time; os.environ.get('BENCH_CLOCK') == 'processor' and setattr(time, 'perf_counter', time.process_time)\n"


def run(command, **others):
    return subprocess.run([str(word) for word in command], text=True, capture_output=True, **others)


def last_line(text):
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    telling = [line for line in lines if "rror" in line]
    return (telling or lines or ["no message"])[-1][:110]


class Side:
    """One of the two interpreters, with its virtual environment."""

    def __init__(self, name, interpreter, work):
        self.name, self.interpreter = name, interpreter
        self.venv = work / f"venv-{name}"
        self.python = self.venv / "bin" / "python"
        if not self.python.exists():
            made = run([interpreter, "-m", "venv", self.venv])
            if made.returncode:
                sys.exit(f"{interpreter} cannot make a virtual environment: {last_line(made.stdout + made.stderr)}")
        for packages in self.venv.glob("lib/python3*/site-packages"):
            (packages / "bench_clock.pth").write_text(CLOCK)
        self.record = self.venv / "installed.json"
        self.tried = json.loads(self.record.read_text()) if self.record.exists() else {}

    def pip(self, *arguments):
        """Installs what was not tried before; returns why it cannot be, or nothing."""
        key = " ".join(map(str, arguments))
        if key not in self.tried:
            done = run([self.python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments])
            self.tried[key] = "" if done.returncode == 0 else last_line(done.stderr)
            self.record.write_text(json.dumps(self.tried))
        return self.tried[key]

    def benchmarks(self):
        found = run([self.python, "-c", "import pyperformance; print(pyperformance.__path__[0])"], check=True).stdout.strip()
        return pathlib.Path(found) / "data-files" / "benchmarks"


def listed(directory):
    """Yields (name, script, requirements, options) of every benchmark: that of pyproject.toml, and its variants."""
    for place in sorted(directory.glob("bm_*")):
        for description in sorted(place.glob("*.toml"), key=lambda path: (path.name != "pyproject.toml", path.name)):
            table = tomllib.loads(description.read_text()).get("tool", {}).get("pyperformance", {})
            if table.get("name"):
                requirements = place / "requirements.txt"
                yield table["name"], place / "run_benchmark.py", requirements, table.get("extra_opts", [])


def measure(side, script, options, work, loops, clock):
    """Runs a benchmark once; returns {name: (loops, [seconds])}."""
    out = work / f"result-{side.name}.json"
    out.unlink(missing_ok=True)
    command = [side.python, script, *options, "-o", out, "--processes", "1", "--values", VALUES, "--warmups", "1", "--quiet",
               "--inherit-environ", "BENCH_CLOCK"]
    if loops:
        command += ["--loops", loops]
    try:
        done = run(command, cwd=script.parent, timeout=TIMEOUT, env={**os.environ, "BENCH_CLOCK": clock})
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{side.name}: took longer than {TIMEOUT} s") from None
    if done.returncode or not out.exists():
        raise RuntimeError(f"{side.name}: {last_line(done.stderr + done.stdout)}")
    document = json.loads(out.read_text())
    found = {}
    for benchmark in document["benchmarks"]:
        metadata = {**document.get("metadata", {}), **benchmark.get("metadata", {})}
        runs = [r for r in benchmark["runs"] if r.get("values")]
        used = runs[0].get("metadata", {}).get("loops", metadata.get("loops", 1))
        found[metadata["name"]] = (used, [value for r in runs for value in r["values"]])
    return found


def prepare(sides, benchmark):
    requirements = benchmark[2]
    if requirements.exists():
        for side in sides:
            if failed := side.pip("-r", requirements):
                raise RuntimeError(f"{side.name}: {failed}")


def compare(sides, benchmark, rounds, work, clock):
    """Returns {name: {side: [seconds]}} of one script, rounds by turns."""
    name, script, _, options = benchmark
    if clock == "processor" and re.search(r"bench_command|multiprocessing|concurrent.futures", script.read_text()):
        raise RuntimeError("works in other processes")
    found, loops = {}, None
    for number in range(rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            for each, (used, values) in measure(side, script, options, work, loops, clock).items():
                found.setdefault(each, {}).setdefault(side.name, []).extend(values)
                single = used
            # Only a script with one benchmark can be told its loops.
            loops = loops or (single if len(found) == 1 and name not in ("2to3",) else None)
    return found


def starts(sides, rounds):
    """Returns {arguments: {side: [(wall, processor seconds)]}}, by turns."""
    found = {}
    for arguments in (*STARTS, IMPORTS):
        name = "start " + " ".join(arguments)[:34]
        for number in range(rounds + 2):
            for side in sides if number % 2 == 0 else reversed(sides):
                begin = time.perf_counter()
                child = os.posix_spawn(side.interpreter, [str(side.interpreter), *arguments], {"PATH": "/usr/bin:/bin"})
                _, status, usage = os.wait4(child, 0)
                wall = time.perf_counter() - begin
                if status:
                    sys.exit(f"{side.interpreter} {' '.join(arguments)} failed")
                if number > 1:
                    found.setdefault(name, {}).setdefault(side.name, []).append((wall, usage.ru_utime + usage.ru_stime))
    return found


def ratio(values, of):
    return of(values["ours"]) / of(values["reference"])


def duration(seconds):
    unit, factor = next(((unit, factor) for unit, factor in (("s", 1), ("ms", 1e3), ("µs", 1e6)) if seconds * factor >= 1), ("ns", 1e9))
    return f"{seconds * factor:.1f} {unit}"


def mean(ratios):
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else float("nan")


def interpreter_of(place, work):
    if place.is_dir():
        tree = place
    else:
        tree = work / "tree"
        if not tree.exists():
            with tarfile.open(place) as archive:
                archive.extractall(tree, filter="tar")
    found = sorted(path for path in tree.glob("**/bin/python3.*") if re.fullmatch(r"python3\.\d+t?", path.name))
    if not found:
        sys.exit(f"{place} has no bin/python3.X")
    return found[0].resolve()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("ours", type=pathlib.Path, help="release tarball, or an unpacked tree")
    parser.add_argument("--reference", type=pathlib.Path, default=pathlib.Path("/usr/bin/python3.11"))
    parser.add_argument("--rounds", type=int, default=3, help="of each benchmark on each side (%(default)s)")
    parser.add_argument("--starts", type=int, default=60, help="of each way to start (%(default)s)")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--benchmarks", help="comma-separated names; by default all")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("target/bench-python"))
    parser.add_argument("--prepare", action="store_true", help="install everything, measure nothing")
    parser.add_argument("--again", action="store_true", help="forget results of an earlier run")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    sides = [Side("ours", interpreter_of(arguments.ours, work), work), Side("reference", arguments.reference, work)]
    for side in sides:
        about = run([side.interpreter, "-c", "import sys, sysconfig; print(sys.version.split()[0], sysconfig.get_config_var('SOABI'))"])
        print(f"{side.name}: {side.interpreter} {about.stdout.strip()}", flush=True)
        if failed := side.pip(f"pyperformance=={PYPERFORMANCE}"):
            sys.exit(f"{side.name}: pyperformance cannot be installed: {failed}")
    kept_file = work / f"results-{arguments.clock}.json"
    kept = json.loads(kept_file.read_text()) if kept_file.exists() and not arguments.again else {}
    wanted = set(arguments.benchmarks.split(",")) if arguments.benchmarks else None
    skipped = {}
    print(f"{'benchmark':34} {'reference':>12} {'median':>7} {'best':>7}", flush=True)
    for benchmark in listed(sides[1].benchmarks()):
        name = benchmark[0]
        if name in LEFT_OUT or (wanted is not None and name not in wanted):
            continue
        if name not in kept:
            try:
                prepare(sides, benchmark)
                if arguments.prepare:
                    continue
                kept[name] = compare(sides, benchmark, arguments.rounds, work, arguments.clock)
            except RuntimeError as reason:
                skipped[name] = str(reason)
                continue
            kept_file.write_text(json.dumps(kept))
        for each, values in kept[name].items():
            seconds = statistics.median(values["reference"])
            print(f"{each:34} {duration(seconds):>12} {ratio(values, statistics.median):7.3f} {ratio(values, min):7.3f}", flush=True)
    for name, reason in sorted(skipped.items()):
        print(f"skipped {name}: {reason}")
    if arguments.prepare:
        return
    shown = [values for name, of in kept.items() if wanted is None or name in wanted for values in of.values()]
    by_median, by_best = ([ratio(values, of) for values in shown] for of in (statistics.median, min))
    print(f"{'geometric mean of ' + str(len(shown)):34} {'':12} {mean(by_median):7.3f} {mean(by_best):7.3f}")
    print(f"\n{'':34} {'reference':>12} {'median':>7} {'best':>7} {'processor':>9}")
    for name, values in starts(sides, arguments.starts).items():
        wall = {side: [pair[0] for pair in pairs] for side, pairs in values.items()}
        processor = {side: [pair[1] for pair in pairs] for side, pairs in values.items()}
        print(f"{name:34} {duration(statistics.median(wall['reference'])):>12} {ratio(wall, statistics.median):7.3f} "
              f"{ratio(wall, min):7.3f} {ratio(processor, statistics.median):9.3f}", flush=True)


if __name__ == "__main__":
    main()
