"""What a standalone Python must be able to do, run by the Python under test.

Called as `checks.py WHAT`; prints one line a check: `ok<TAB>name<TAB>detail`, `FAIL<TAB>name<TAB>reason` or
`skip<TAB>name<TAB>what the machine lacks`.
Only /tmp is writable. WHAT is one of the functions at the end.
"""

import os
import re
import subprocess
import sys


def check(name, function):
    try:
        detail = function()
    except BaseException as error:  # a crash of one check must not hide the others
        print("FAIL", name, f"{type(error).__name__}: {error}".replace("\n", " "), sep="\t", flush=True)
    else:
        print("ok", name, str(detail or "").replace("\n", " "), sep="\t", flush=True)


def skip(name, why):
    print("skip", name, why, sep="\t", flush=True)


def need(condition, message):
    if not condition:
        raise AssertionError(message)


def run(*args, **options):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    text = done.stdout.decode(errors="replace").strip()
    need(done.returncode == 0, f"exit {done.returncode}: {text[-500:]}")
    return text


WHO = "import sys; print(sys.executable, sys.prefix, sys.base_prefix, sep='|')"


def place():
    """Where am I: sys.executable and sys.prefix, for the prefix in the environment."""
    prefix = os.environ["EXPECTED_PREFIX"]
    need(os.path.realpath(sys.executable).startswith(os.path.realpath(prefix) + "/bin/"), f"executable {sys.executable}")
    need(sys.prefix == prefix and sys.base_prefix == prefix, f"prefix {sys.prefix}")
    import encodings

    need(encodings.__file__.startswith(prefix + "/lib/"), encodings.__file__)
    import tkinter

    library = tkinter.Tcl().eval("info library")
    need(library.startswith(prefix + "/lib/"), "Tcl's library is " + library)


def moved():
    """A tree elsewhere, a symlink, PATH, another argv[0]."""
    where = {"EXPECTED_PREFIX": "/moved/python", "PATH": "/moved/python/bin"}
    binary, here = "/moved/python/bin/python3", os.path.abspath(__file__)

    def as_(*args, **options):
        options.setdefault("env", where)
        out = run(*args, here, "place", **options)
        need("FAIL" not in out and "ok" in out, out)

    check("moved", lambda: as_(binary))
    os.symlink(binary, "/tmp/link")
    check("through a symlink", lambda: as_("/tmp/link"))
    os.makedirs("/tmp/links", exist_ok=True)
    os.symlink("../link", "/tmp/links/again")
    check("through two symlinks", lambda: as_("/tmp/links/again"))
    check("from PATH", lambda: as_("python3", executable=None, env=where))
    check("another argv[0]", lambda: as_("weird", executable=binary))
    check("relative", lambda: as_("python/bin/python3", cwd="/moved"))
    check("host LD_LIBRARY_PATH", lambda: as_(binary, env=dict(where, LD_LIBRARY_PATH="/nonexistent:/lib", LD_PRELOAD="/nonexistent.so")))


def without_proc():
    """An empty root that holds the tree alone, without /proc."""

    def enter():
        os.chroot("/empty")
        os.chdir("/")

    def inside():
        there = ["checks.py", "contract.py", "library.py", "opt", "server.pem", "tmp", "windows.py"]
        need(sorted(os.listdir("/empty")) == there, f"not empty: {os.listdir('/empty')}")
        who = run("/opt/python/bin/python3", "-c", WHO, preexec_fn=enter)
        need(who == "/opt/python/bin/python3|/opt/python|/opt/python", who)

    def whole():
        lines = run("/opt/python/bin/python3", "/library.py", "library", preexec_fn=enter).splitlines()
        bad = [line for line in lines if not line.startswith("ok\t")]
        need(lines and not bad, "; ".join(bad) or "no check ran")
        return f"{len(lines)} checks"

    check("empty root without /proc", inside)
    check("the library there", whole)


def process_():
    check("subprocess", lambda: need(run(sys.executable, "-c", WHO).startswith(sys.executable + "|"), "another executable"))
    for method in ("fork", "spawn", "forkserver"):
        check("multiprocessing " + method, lambda: multi(method))
    check("threads", threads)


def multi(method):
    import multiprocessing

    with multiprocessing.get_context(method).Pool(2) as pool:
        need(pool.map(abs, [-1, 2, -3]) == [1, 2, 3], "wrong result")


def threads():
    import threading

    def deep(n):
        return 0 if n == 0 else 1 + deep(n - 1)

    sys.setrecursionlimit(20000)
    results = []
    workers = [threading.Thread(target=lambda: results.append(deep(5000))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    need(results == [5000] * 4, f"{results}")


def environments():
    """venv in all its forms, pip and a wheel."""
    wheel = make_wheel("/tmp/tiny-1.0-py3-none-any.whl")

    def venv(directory, *options, python=sys.executable):
        def create():
            run(python, "-m", "venv", *options, directory)
            who = run(directory + "/bin/python", "-c", WHO).split("|")
            need(who == [directory + "/bin/python", directory, sys.prefix], f"{who}")
            run(directory + "/bin/python", "-c", "import tkinter; tkinter.Tcl()")
            if "--without-pip" in options:
                return
            run(directory + "/bin/pip", "install", "--no-index", "--no-deps", "--quiet", wheel)
            need(run(directory + "/bin/python", "-c", "import tiny; print(tiny.VALUE)") == "42", "the wheel does nothing")
            need(run(directory + "/bin/tiny") == "42", "the script does nothing")

        return create

    check("venv", venv("/tmp/v1"))
    check("venv --copies", venv("/tmp/v2", "--copies"))
    os.makedirs("/tmp/bin", exist_ok=True)
    os.symlink(sys.executable, "/tmp/bin/python3")
    check("venv from a symlink", venv("/tmp/v3", "--without-pip", python="/tmp/bin/python3"))

    def musllinux():
        from pip._vendor.packaging import tags

        found = [str(tag) for tag in tags.sys_tags() if "musllinux" in str(tag)]
        need(found, "no musllinux wheel would be chosen")
        return found[0]

    check("musllinux wheels", musllinux)


def make_wheel(path):
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "VALUE = 42\ndef main():\n    print(VALUE)\n")
        info = "tiny-1.0.dist-info/"
        archive.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(info + "entry_points.txt", "[console_scripts]\ntiny = tiny:main\n")
        archive.writestr(info + "RECORD", "")
    return path


def scripts():
    """The programs in bin/ run after a move: their #! names no fixed place."""

    def relocatable():
        directory, tried = "/moved/python/bin", []
        # A -full tree has debug information in a directory of its own there.
        for name in sorted(entry.name for entry in os.scandir(directory) if not entry.is_dir()):
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                head = file.read(200)
            if head.startswith(b"#!"):
                need(b"/opt/python" not in head.split(b"\n")[0], f"{name}: {head!r}")
                tried.append(name)
        return ", ".join(tried)

    check("bin scripts are relocatable", relocatable)
    if not os.path.exists("/bin/sh"):
        return

    def works(name, *args, wanted, env):
        text = run(name, *args, env=env)
        need(wanted in text, text)
        return text.splitlines()[0].split(" from ")[0]

    plain = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    path = dict(plain, PATH="/moved/python/bin:/usr/bin:/bin")
    os.symlink("/moved/python/bin/pip3", "/tmp/pip")
    where = " from /moved/python/lib/"
    check("moved pip", lambda: works("/moved/python/bin/pip3", "--version", wanted=where, env=plain))
    check("pip from PATH", lambda: works("pip3", "--version", wanted=where, env=path))
    check("pip through a symlink", lambda: works("/tmp/pip", "--version", wanted=where, env=plain))
    check("moved pydoc", lambda: works("/moved/python/bin/pydoc3", "json.dumps", wanted="json.dumps", env=plain))
    check("moved python3-config", lambda: works("/moved/python/bin/python3-config", "--prefix", wanted="/moved/python", env=plain))


if __name__ == "__main__":
    {
        "place": lambda: check("place", place),
        "moved": moved,
        "without-proc": without_proc,
        "process": process_,
        "environments": environments,
        "scripts": scripts,
    }[sys.argv[1]]()
