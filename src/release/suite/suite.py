"""CPython's own tests, a file at a time, by the Python under test. Its standard library only, Python 3.10 and later.

    suite.py JOBS SECONDS RESOURCES PLACE [TEST...]

Prints a line of JSON when it knows which files there are, and one a file when that has ended; other output is not for reading.
A file runs in a process and a directory of its own below PLACE, for at most SECONDS, so that a crash or a hang is that file's.
"""
import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

TAIL = 4000        # characters of what a file said that are kept when it failed
GRACE = 60         # seconds that regrtest may take to show where it hangs


def names(resources):
    told = subprocess.run([sys.executable, "-m", "test", "--list-tests", "-u", resources],
                          stdout=subprocess.PIPE, text=True, check=True).stdout
    return [line for line in told.split("\n") if re.fullmatch(r"[\w.]+", line)]


def case_name(name):
    """The name of a test method: a subtest counts as the method that it is of. `setUpClass (...)` is a name as it is."""
    return name if re.match(r"(setUp|tearDown)\w+ \(", name) else re.split(r" [(\[]", name, maxsplit=1)[0]


def read_cases(text):
    """The cases of a report that regrtest wrote (--junit-xml): passed, failed with the end of the trace, skipped with the reason."""
    # A test may print what XML cannot hold.
    text = re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)
    passed, failed, skipped = set(), {}, {}
    for case in xml.etree.ElementTree.fromstring(text).iter("testcase"):
        name = case_name(case.get("name", ""))
        if not name:
            continue        # a method whose subtests failed; read_traces finds it
        fault = [child for child in case if child.tag in ("failure", "error")]
        skip = case.find("skipped")
        if fault:
            words = (fault[0].text or "").strip() or "".join(fault[0].itertext()).strip() or fault[0].get("message") or ""
            failed.setdefault(name, words[-TAIL:])
        elif case.get("outcome") == "UNEXPECTED_SUCCESS":
            failed.setdefault(name, "passed, though CPython expects it to fail")
        elif skip is not None:
            skipped[name] = skip.text or ""
        else:
            passed.add(name)
    return {"passed": sorted(passed - set(failed)), "failed": failed,
            "skipped": {name: why for name, why in skipped.items() if name not in failed}}


def read_traces(said):
    """What unittest says of failures in the output. The report has neither those of subtests nor those of setUpClass and its kin."""
    failed = {}
    parts = re.split(r"^={70}\n(?:FAIL|ERROR|UNEXPECTED SUCCESS): ", said, flags=re.MULTILINE)
    for part in parts[1:]:
        head = re.match(r"(\w+) \(([\w.]+)\)", part)
        if head is None:
            name = part.split("\n", 1)[0]
        elif re.match(r"(setUp|tearDown)(Class|Module)$", head[1]):
            name = head[0]
        else:
            # From 3.11 on the parentheses have the method too.
            name = head[2] if head[2].endswith("." + head[1]) else head[2] + "." + head[1]
        # The trace goes to the next rule, or to the last line of unittest.
        failed.setdefault(name, re.split(r"^(?:={70}|Ran \d+ tests? in .*)$", part, maxsplit=1, flags=re.MULTILINE)[0].strip()[-TAIL:])
    return failed


def run(test, seconds, resources, place):
    directory = tempfile.mkdtemp(prefix="suite-", dir=place)
    report, log = os.path.join(directory, "report.xml"), os.path.join(directory, "log")
    work = os.path.join(directory, "work")
    os.mkdir(work)
    start = time.monotonic()
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "test", "-W", "-u", resources, "--timeout", str(seconds), "--junit-xml", report, test],
            cwd=work, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env=dict(os.environ, TMPDIR=work))
        try:
            code, ended = process.wait(seconds + GRACE), None
        except subprocess.TimeoutExpired:
            code, ended = None, f"still ran after {seconds + GRACE} seconds"
        # What a test left running would disturb those after it.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    elapsed = time.monotonic() - start
    with open(log, encoding="utf-8", errors="backslashreplace") as output:
        said = output.read()
    found = {"test": test, "seconds": round(elapsed, 1), "passed": [], "failed": {}, "skipped": {}}
    skip = re.search(rf"^{re.escape(test)} skipped(?: \(resource denied\))?(?: -- (.*))?$", said, re.MULTILINE)
    if skip:
        found["absent"] = skip[1] or "no reason given"
    if os.path.exists(report):
        with open(report, encoding="utf-8", errors="replace") as file:
            found.update(read_cases(file.read()))
    for name, trace in read_traces(said).items():
        found["failed"].setdefault(name, trace)
    found["passed"] = [name for name in found["passed"] if name not in found["failed"]]
    if ended is None and code != 0 and not skip:
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    if ended:
        found["ended"] = ended
        found["said"] = said[-TAIL:]
    subprocess.run(["chmod", "-R", "u+rwX", directory], stderr=subprocess.DEVNULL)
    shutil.rmtree(directory, ignore_errors=True)
    return found


def main():
    jobs, seconds, resources, place = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    os.makedirs(os.environ["HOME"], exist_ok=True)
    known = names(resources)
    print(json.dumps({"known": known}), flush=True)
    asked = sys.argv[5:] or known
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run, test, seconds, resources, place) for test in asked]):
            print(json.dumps(done.result()), flush=True)


if __name__ == "__main__":
    main()
