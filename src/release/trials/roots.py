"""What a standalone Python must be able to do in a strange root, run by the Python under test at /opt/python.

Called as `roots.py FACTS`, a JSON object that says what the root is like: `bundle` (where it keeps certificates, or null), `hashed` (by
hash in /etc/ssl/certs too), `proc` (is there a /proc). Prints one line an aspect, as `trial.rs` reads them: `ok`, `FAIL` or `skip`, a
tab, the aspect, a tab, a detail.
Only /tmp is writable. /trial holds this file, authority.pem (trusted by the root's bundle, if it has one) and server.pem.
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading

FACTS = json.loads(sys.argv[1])
PREFIX = "/opt/python"
PYTHON = PREFIX + "/bin/python3"
AUTHORITY, SERVER = "/trial/authority.pem", "/trial/server.pem"
ENVIRONMENT = {"PATH": PREFIX + "/bin", "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
SHELL = os.path.exists("/bin/sh")
LIBRARIES = [
    directory
    for machine in ("x86_64-linux-gnu", "i386-linux-gnu", "x86_64-linux-musl", "i386-linux-musl")
    for directory in ("/lib/" + machine, "/usr/lib/" + machine)
] + ["/lib64", "/usr/lib64", "/lib", "/usr/lib"]


class Skip(Exception):
    """This root lacks what the aspect is about."""


def need(condition, message):
    if not condition:
        raise AssertionError(message)


def run(*args, env=ENVIRONMENT, wanted=0, **options):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, timeout=600, **options)
    text = done.stdout.decode(errors="replace").strip()
    need(done.returncode == wanted, f"{' '.join(args)[:200]}: exit {done.returncode}: {text[-400:]}")
    return text


WHO = "import sys, encodings; print(sys.executable, sys.prefix, encodings.__file__, sep='|')"


def is_us(text, executable=None):
    found, prefix, encodings = text.split("|")
    need(prefix == PREFIX, f"prefix {prefix}")
    need(encodings.startswith(PREFIX + "/lib/"), encodings)
    need(executable in (None, found), f"executable {found}, not {executable}")


def start():
    """By path, link, PATH, another argv[0], a relative name; with locales that nobody has."""
    is_us(run(PYTHON, "-c", WHO), PYTHON)
    is_us(run("python3", "-c", WHO))
    is_us(run("bin/python3", "-c", WHO, cwd=PREFIX))
    os.symlink(PYTHON, "/tmp/link")
    os.symlink("link", "/tmp/again")
    for link in ("/tmp/link", "/tmp/again"):
        is_us(run(link, "-c", WHO))
    if FACTS["proc"]:
        for name in ("sh", "python3", "/usr/bin/python3", ""):
            is_us(run(name, "-c", WHO, executable=PYTHON))
        is_us(run("python3", "-c", WHO, executable=PYTHON, env={}))
    for locale in ("de_DE.ISO-8859-1", "nonsense", "C", "POSIX", ""):
        told = run(PYTHON, "-c", "print('\\u00e4\\u20ac')", env=dict(ENVIRONMENT, LC_ALL=locale, LANG=locale))
        need(told == "\u00e4\u20ac", f"with LC_ALL={locale}: {told!r}")
    return run(PYTHON, "--version").split()[-1]


def script(path, text):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)
    return path


def scripts():
    """`#!` lines, and the scripts of bin/ where there is a shell for them."""
    body = "\nimport sys, encodings\nprint(sys.executable, sys.prefix, encodings.__file__, sep='|')\n"
    is_us(run(script("/tmp/direct", f"#!{PYTHON}{body}")))
    is_us(run(script("/tmp/linked", f"#!/tmp/link -E{body}")))
    is_us(run("direct", env=dict(ENVIRONMENT, PATH="/tmp")))
    if not SHELL:
        return "no shell here: bin/pip and others begin with #!/bin/sh"
    path = dict(ENVIRONMENT, PATH=PREFIX + "/bin:/usr/bin:/bin")
    is_us(run("/bin/sh", "-c", f'python3 -c "{WHO}"', env=path))
    if os.path.exists("/usr/bin/env"):
        is_us(run(script("/tmp/searched", f"#!/usr/bin/env python3{body}"), env=path))
    names = [name for name in sorted(os.listdir(PREFIX + "/bin")) if name.startswith("pip")]
    for name in names:
        need(" from /opt/python/lib/" in run(f"{PREFIX}/bin/{name}", "--version", env=path), f"{name} is another's")
    need("json.dumps" in run(PREFIX + "/bin/pydoc3", "json.dumps", env=path), "pydoc3 says something else")
    return ", ".join(names)


LIBRARY = """
import curses, ctypes, hashlib, readline, sqlite3, ssl, lzma, zlib, subprocess
if %r:
    files = {line.split(None, 5)[5].strip() for line in open('/proc/self/maps') if line.count('/')}
    strange = sorted(file for file in files if not file.startswith(('/opt/python/', '/dev/', '/memfd:')))
    assert not strange, strange
assert zlib.decompress(zlib.compress(b'x' * 1000)) == b'x' * 1000
print('fine')
"""


def loader():
    """Variables that a host sets for its own libc do no harm, and reach the host's own programs unchanged."""
    there = [directory for directory in LIBRARIES if os.path.isdir(directory)]
    wanted = ("libc.so", "libz.so", "libssl.so", "libcrypto.so", "libsqlite3.so", "libncursesw.so", "libtinfo.so", "libm.so")
    preload = [
        directory + "/" + name
        for directory in there
        for name in sorted(os.listdir(directory))
        if name.startswith(wanted)
    ]
    program = LIBRARY % FACTS["proc"]
    hostile = dict(ENVIRONMENT, LD_LIBRARY_PATH=":".join(there + ["/nonexistent"]), LD_PRELOAD=":".join(preload) or "/none.so")
    need(run(PYTHON, "-c", program, env=hostile) == "fine", "other words")
    need(run(PYTHON, "-c", program, env=dict(hostile, LD_BIND_NOW="1", LD_DEBUG="", LD_AUDIT="/x.so")) == "fine", "other words")
    told = [f"{len(preload)} libraries preloaded"]
    if SHELL:
        kept = {"LD_LIBRARY_PATH": ":".join(there + ["/nonexistent"]), "A": "1"}
        command = "import os; os.execv('/bin/sh', ['sh', '-c', 'echo $LD_LIBRARY_PATH $A $PYTHONHOME'])"
        said = run(PYTHON, "-c", command, env=kept)
        need(said == kept["LD_LIBRARY_PATH"] + " 1", f"the shell was told {said!r}")
    for name in ("ld-musl-x86_64.so.1", "ld-musl-i386.so.1"):
        if os.path.exists("/lib/" + name):
            said = run("/lib/" + name, wanted=1)
            told.append("beside musl " + said.split("Version ")[1].split()[0])
    return ", ".join(told)


def serve(listener, context):
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        try:
            with context.wrap_socket(plain, server_side=True) as connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        except (OSError, ssl.SSLError):
            pass


VISIT = """
import ssl, sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())
except OSError as error:
    reason = getattr(error, 'reason', error)
    if not isinstance(reason, ssl.SSLCertVerificationError):
        raise
    print('refused')
"""


def tls():
    """Who is trusted: the root's own bundle, else the shipped one, or what the environment names and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SERVER)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener, context), daemon=True).start()
        address = f"https://127.0.0.1:{listener.getsockname()[1]}/"

        def visit(**variables):
            return run(PYTHON, "-c", VISIT, address, env={**ENVIRONMENT, **variables})

        os.mkdir("/tmp/certs")
        os.symlink(AUTHORITY, "/tmp/certs/19749069.0")
        # OpenSSL has a file and a directory: who names the file only still trusts the system's directory.
        directory = {"SSL_CERT_DIR": "/nonexistent"} if FACTS["hashed"] else {}
        answers = {
            "by default": (visit(), "hello" if FACTS["bundle"] else "refused"),
            "SSL_CERT_FILE": (visit(SSL_CERT_FILE=AUTHORITY), "hello"),
            "SSL_CERT_DIR": (visit(SSL_CERT_DIR="/tmp/certs"), "hello"),
            "SSL_CERT_FILE of others": (visit(SSL_CERT_FILE=PREFIX + "/share/ca-certificates/cacert.pem", **directory), "refused"),
            "SSL_CERT_FILE that is missing": (visit(SSL_CERT_FILE="/nonexistent", **directory), "refused"),
        }
        wrong = [f"{what}: {got!r}, not {wanted!r}" for what, (got, wanted) in answers.items() if got != wanted]
        need(not wrong, "; ".join(wrong))
        try:
            socket.create_connection(listener.getsockname()[:2]).close()
        finally:
            listener.close()
    if FACTS["bundle"]:
        return FACTS["bundle"]
    count = ssl.create_default_context().cert_store_stats()["x509_ca"]
    need(count > 100, f"{count} authorities where the system has none")
    return f"shipped bundle, {count} authorities"


def environments():
    """venv with pip, with copies, from a link; activated where there is a shell."""

    def who(directory):
        found = run(directory + "/bin/python", "-c", "import sys; print(sys.executable, sys.prefix, sys.base_prefix)").split()
        need(found == [directory + "/bin/python", directory, PREFIX], f"{found}")

    run(PYTHON, "-m", "venv", "/tmp/v1")
    run(PYTHON, "-m", "venv", "--copies", "/tmp/v2")
    run("/tmp/link", "-m", "venv", "--without-pip", "/tmp/v3")
    for directory in ("/tmp/v1", "/tmp/v2", "/tmp/v3"):
        who(directory)
    for directory in ("/tmp/v1", "/tmp/v2"):
        need(f" from {directory}/lib/" in run(directory + "/bin/pip", "--version"), "another pip")
        is_us(run(directory + "/bin/python", "-c", f"import subprocess, sys; print(subprocess.check_output(['{PYTHON}', '-c', \"{WHO}\"], text=True), end='')"))
    run("/tmp/v2/bin/python", "-m", "venv", "--without-pip", "/tmp/v4")
    need(run("/tmp/v4/bin/python", "-c", "import sys; print(sys.base_prefix)") == PREFIX, "a venv of a venv is elsewhere")
    if SHELL:
        told = run("/bin/sh", "-c", ". /tmp/v1/bin/activate && python -c 'import sys; print(sys.prefix)'")
        need(told == "/tmp/v1", told)
    return run("/tmp/v1/bin/pip", "--version").split(" from ")[0]


def square(number):
    return number * number


def processes():
    import multiprocessing

    is_us(run(sys.executable, "-c", WHO))
    need(subprocess.run("exit 3", shell=True).returncode == 3 if SHELL else True, "no shell command")
    if not os.path.isdir("/dev/shm"):
        return "no /dev/shm: without multiprocessing"
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(2) as pool:
            need(pool.map(square, range(5)) == [0, 1, 4, 9, 16], method)
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2) as pool:
        need(list(pool.map(square, range(5))) == [0, 1, 4, 9, 16], "executor")
    return ", ".join(multiprocessing.get_all_start_methods())


SCREEN = """
import curses, os
try:
    curses.setupterm()
    screen = curses.initscr()
    curses.cbreak(); screen.keypad(True); screen.addstr(0, 0, 'h\\u00e4llo'); screen.refresh(); curses.endwin()
    print('\\nfine', curses.tigetnum('colors'))
except curses.error as error:
    print('\\ncurses.error:', error)
"""


def terminal():
    """curses finds its terminals, with a terminfo database and without."""
    found = {}
    for name in ("xterm-256color", "xterm", "linux", "vt100", "screen-256color", "tmux-256color", "nonsense"):
        try:
            master, slave = os.openpty()
        except OSError as error:
            raise Skip(f"no terminal to be had: {error}") from None
        child = subprocess.Popen([PYTHON, "-c", SCREEN], stdin=slave, stdout=slave, stderr=slave, env=dict(ENVIRONMENT, TERM=name))
        os.close(slave)
        said = b""
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:
                break
            if not data:
                break
            said += data
        os.close(master)
        need(child.wait(20) == 0, f"{name}: exit {child.returncode}: {said[-200:]!r}")
        found[name] = said.decode(errors="replace").splitlines()[-1].strip()
    need(found.pop("nonsense").startswith("curses.error:"), "a terminal that does not exist")
    bad = {name: told for name, told in found.items() if not told.startswith("fine")}
    need(not bad, f"{bad}")
    need(found["xterm-256color"] == "fine 256", found["xterm-256color"])
    return f"{len(found)} terminals" + (", terminfo there" if os.path.isdir("/lib/terminfo") or os.path.isdir("/usr/share/terminfo") else "")


FOREIGN = """
import ctypes, ctypes.util, os, sys
libc = ctypes.CDLL(ctypes.util.find_library('c'))
assert libc.getpid() == os.getpid()
for name in ('libc.so.6', 'libm.so.6', 'libpthread.so.0', 'libc.so', None):
    ctypes.CDLL(name)
ours = ctypes.CDLL('libz.so.1')
assert ours.zlibVersion
maps = open('/proc/self/maps').read() if os.path.exists('/proc/self/maps') else '/opt/python/shared_libraries/lib/libz.so.1'
assert '/opt/python/shared_libraries/lib/libz.so.1' in maps, 'another libz.so.1'
try:
    ctypes.CDLL('libnothing.so.9')
except OSError as error:
    print(error)
"""


def foreign_libraries():
    """ctypes: our libc under the names that programs know, our libz, and a clear error for what is not there."""
    said = run(PYTHON, "-c", FOREIGN, env=dict(ENVIRONMENT, PATH=PREFIX + "/bin:/usr/sbin:/sbin:/usr/bin:/bin"))
    need("libnothing.so.9" in said, said)
    import ctypes

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    values = (ctypes.c_int * 4)(4, 2, 3, 1)
    ctypes.CDLL(None).qsort(values, 4, ctypes.sizeof(ctypes.c_int), kind(lambda a, b: a[0] - b[0]))
    need(list(values) == [1, 2, 3, 4], "a callback did not sort")
    return ""


def time_zones():
    """zoneinfo reads the root's database, and says what is missing where there is none; POSIX rules work anywhere."""
    import zoneinfo

    rule = run(PYTHON, "-c", "import time; print(time.strftime('%H %Z', time.localtime(1750000000)))", env=dict(ENVIRONMENT, TZ="CET-1CEST,M3.5.0,M10.5.0/3"))
    need(rule == "17 CEST", rule)
    run(PYTHON, "-c", "import time; time.tzset(); time.localtime()", env=dict(ENVIRONMENT, TZ="Nowhere/Nothing"))
    need(str(zoneinfo.ZoneInfo.__name__) == "ZoneInfo", "no zoneinfo")
    if os.path.exists("/usr/share/zoneinfo/Europe/Berlin"):
        import datetime

        there = datetime.datetime(2025, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
        need(there.utcoffset() == datetime.timedelta(hours=2), f"{there.utcoffset()}")
        named = run(PYTHON, "-c", "import time; print(time.strftime('%H %Z', time.localtime(1750000000)))", env=dict(ENVIRONMENT, TZ="Europe/Berlin"))
        need(named == "17 CEST", named)
        return "the root's database"
    try:
        zoneinfo.ZoneInfo("Europe/Berlin")
    except zoneinfo.ZoneInfoNotFoundError as error:
        need("Europe/Berlin" in str(error), f"unclear: {error}")
        return "none: " + str(error).strip("'")
    raise AssertionError("a zone out of nothing")


NAMES = """
import getpass, grp, os, platform, pwd, socket, sys, tempfile

def tell(what, function, *refusals):
    try:
        return f'{what}: {function()}'
    except refusals as error:
        return f'{what}: {type(error).__name__}'

print(tell('uid 0', lambda: pwd.getpwuid(0).pw_name, KeyError))
print(tell('uid 12345', lambda: pwd.getpwuid(12345).pw_name, KeyError))
print(tell('gid 0', lambda: grp.getgrgid(0).gr_name, KeyError))
print(tell('all', lambda: len(pwd.getpwall()) + len(grp.getgrall())))
print(tell('home', lambda: os.path.expanduser('~'), KeyError, RuntimeError))
print(tell('user', lambda: getpass.getuser(), KeyError, OSError))
print(tell('login', lambda: os.getlogin(), OSError))
print(tell('groups', lambda: os.getgrouplist('root', 0), KeyError, OSError))
print(tell('number', lambda: socket.getaddrinfo('127.0.0.1', 80)[0][4]))
print(tell('six', lambda: socket.getaddrinfo('::1', 80, type=socket.SOCK_STREAM)[0][4]))
print(tell('localhost', lambda: socket.getaddrinfo('localhost', 80)[0][4], socket.gaierror))
print(tell('nobody', lambda: socket.getaddrinfo('name.invalid', 80), socket.gaierror))
print(tell('service', lambda: socket.getservbyname('http', 'tcp'), OSError))
print(tell('host', lambda: bool(socket.gethostname())))
print(tell('system', lambda: platform.freedesktop_os_release()['ID'], OSError))
print(tell('platform', lambda: platform.platform()))
print(tell('temporary', lambda: tempfile.gettempdir()))
"""


def names():
    """Users, groups, hosts and services with whatever is in /etc: an answer or the usual exception, in the resolver's own time."""
    lines = run(PYTHON, "-c", NAMES, env={"PATH": PREFIX + "/bin"}).splitlines()
    told = dict(line.split(": ", 1) for line in lines)
    need(told["number"] == "('127.0.0.1', 80)", told["number"])
    need(told["nobody"] == "gaierror", told["nobody"])
    need(told["uid 12345"] == "KeyError", told["uid 12345"])
    need(told["temporary"] == "/tmp", told["temporary"])
    return "; ".join(f"{what} {told[what]}" for what in ("uid 0", "localhost", "service", "system"))


ASPECTS = (
    ("start", start),
    ("scripts", scripts),
    ("LD_*", loader),
    ("TLS", tls),
    ("venv", environments),
    ("processes", processes),
    ("curses", terminal),
    ("ctypes", foreign_libraries),
    ("zoneinfo", time_zones),
    ("names", names),
)

if __name__ == "__main__":
    for name, aspect in ASPECTS:
        try:
            word, detail = "ok", aspect()
        except Skip as reason:
            word, detail = "skip", reason
        except BaseException as error:  # one aspect must not hide the others
            word, detail = "FAIL", f"{type(error).__name__}: {error}"
        print(word, name, str(detail or "").replace("\n", " ").replace("\t", " "), sep="\t", flush=True)
