"""What the standard library of the Python under test must be able to do: called and answering as `checks.py`, `library.py library`.

Only /tmp is writable. It runs twice: in a root that holds the tree alone, and there without /proc too.
"""

import os
import re
import sys

sys.path.insert(0, "/")
from checks import check, need, run  # noqa: E402


def ssl_():
    import ssl

    context = ssl.create_default_context()
    need(context.verify_mode == ssl.CERT_REQUIRED, "certificates are not verified")
    need(len(context.get_ciphers()) > 10, "few ciphers")
    return ssl.OPENSSL_VERSION


def left_early():
    """A client that leaves right after the handshake has ended the connection: that its ticket could not be sent is no error of the reader."""
    import socket
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/server.pem")
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    here, there = socket.socketpair()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = anybody.wrap_bio(incoming, outgoing)
    with context.wrap_socket(here, server_side=True, do_handshake_on_connect=False) as server:
        server.setblocking(False)
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            else:
                raise AssertionError("a handshake of one message")
            if side is client:
                there.sendall(outgoing.read())
        incoming.write(there.recv(65536))
        client.do_handshake()
        there.sendall(outgoing.read())
        there.close()
        server.do_handshake()
        need(server.version() == "TLSv1.3", server.version())
        need(server.recv(1) == b"", "something was read")


def sqlite3_():
    import sqlite3

    db = sqlite3.connect(":memory:")
    db.execute("create virtual table t using fts5(a)")
    db.execute("insert into t values ('hello world')")
    need(db.execute("select count(*) from t where t match 'world'").fetchone() == (1,), "fts5 finds nothing")
    db.execute("create virtual table r using rtree(id, a, b)")
    need(db.execute("""select json_extract('{"a": 2}', '$.a')""").fetchone() == (2,), "no JSON")
    db.enable_load_extension(True)
    return sqlite3.sqlite_version


def round_trip(module):
    def run():
        data = os.urandom(1000) + bytes(100000)
        packed = module_of(module).compress(data)
        need(module_of(module).decompress(packed) == data, "data changed")
        need(len(packed) < len(data) / 10, "not compressed")

    return run


def module_of(name):
    import importlib

    return importlib.import_module(name)


def ctypes_():
    import ctypes

    libc = ctypes.CDLL(None)
    need(libc.getpid() == os.getpid(), "wrong getpid")
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    values = (ctypes.c_int * 4)(4, 2, 3, 1)
    libc.qsort(values, 4, ctypes.sizeof(ctypes.c_int), kind(lambda a, b: a[0] - b[0]))
    need(list(values) == [1, 2, 3, 4], "callback did not sort")


def zlib_for_wheels():
    """Extension modules of musllinux wheels may need libz.so.1; on no account the host's, which may be glibc's."""
    import ctypes

    library = ctypes.CDLL("libz.so.1")
    library.zlibVersion.restype = ctypes.c_char_p
    version = library.zlibVersion().decode()
    import zlib

    need(version == zlib.ZLIB_RUNTIME_VERSION, f"libz.so.1 is {version}, the module zlib {zlib.ZLIB_RUNTIME_VERSION}")
    return version


def readline_():
    import readline

    readline.add_history("line")
    need(readline.get_history_item(1) == "line", "no history")
    return getattr(readline, "_READLINE_LIBRARY_VERSION", "")


# What Python has on Linux with a kernel of today, and leaves out without a word where configure or a libc is not to its taste.
CALLS = {
    "os": """copy_file_range eventfd fork getgrouplist getrandom getresuid getxattr initgroups listxattr lockf memfd_create openpty
        pidfd_open pipe2 posix_fadvise posix_fallocate posix_spawn preadv pwritev removexattr sched_getaffinity sched_setscheduler
        sendfile setns setxattr splice statvfs sync unshare wait3 waitid""",
    "signal": "pidfd_send_signal pthread_kill pthread_sigmask setitimer sigtimedwait sigwaitinfo",
    "socket": """AF_ALG AF_CAN AF_NETLINK AF_PACKET AF_TIPC AF_UNIX AF_VSOCK SO_BINDTODEVICE SO_REUSEPORT TCP_KEEPIDLE TCP_USER_TIMEOUT
        if_nameindex recv_fds sethostname""",
    "time": "clock_getres clock_settime CLOCK_BOOTTIME pthread_getcpuclockid thread_time_ns tzset",
    "select": "epoll poll",
    "resource": "RLIMIT_NICE prlimit",
    "fcntl": "F_ADD_SEALS F_GETPIPE_SZ F_NOTIFY F_OFD_SETLK",
    "mmap": "MADV_HUGEPAGE MADV_DONTNEED MAP_POPULATE",
}


def calls():
    import importlib

    # 3.10 has no unshare and no setns yet, 3.12 does; the build's headers have what the rest wants.
    new = {"setns", "unshare"} if sys.version_info < (3, 12) else set()
    wanted = [(name, call) for name, text in CALLS.items() for call in text.split() if call not in new]
    missing = [f"{name}.{call}" for name, call in wanted if not hasattr(importlib.import_module(name), call)]
    need(not missing, "no " + ", ".join(missing))
    need(os.sched_getscheduler(0) in (os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE), "an unknown scheduler")
    return f"{len(wanted)} there"


def curses_():
    import curses

    for variable in ("TERMINFO", "TERMINFO_DIRS"):
        os.environ.pop(variable, None)
    curses.setupterm("xterm-256color", os.open("/dev/null", os.O_WRONLY) if os.path.exists("/dev/null") else 1)
    need(curses.tigetnum("colors") == 256, "no built-in terminal entry")
    import curses.panel  # noqa: F401


def dbm_gnu():
    import dbm.gnu

    with dbm.gnu.open("/tmp/gnu.db", "c") as db:
        db["key"] = "value"
    with dbm.gnu.open("/tmp/gnu.db") as db:
        need(db["key"] == b"value", "value lost")


def dbm_ndbm():
    import dbm.ndbm

    with dbm.ndbm.open("/tmp/n", "c") as db:
        db["key"] = "value"
        need(db["key"] == b"value", "value lost")


def uuid_():
    import _uuid
    import uuid

    need(_uuid.has_uuid_generate_time_safe is not None, "no libuuid")
    need(uuid.uuid1() != uuid.uuid1() and uuid.uuid4().version == 4, "uuids are not unique")


def hashlib_():
    import hashlib

    known = {
        "md5": "d41d8cd98f00b204e9800998ecf8427e",
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "sha3_256": "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a",
        "blake2b": "786a02f742015903c6c6fd852552d272912f4740e15847618a86e217f71f5419d25e1031afee585313896444934eb04b903a685b1448b755d56f701afe9be2ce",
    }
    for name, digest in known.items():
        need(hashlib.new(name).hexdigest() == digest, name + " is wrong")
    need(hashlib.scrypt(b"", salt=b"", n=16, r=1, p=1, dklen=8).hex() == "77d6576238657b20", "scrypt is wrong")


def decimal_():
    import _decimal
    import decimal

    need(decimal.Decimal is _decimal.Decimal, "decimal is not the C one")
    need(str(decimal.Decimal(1) / 7) == "0.1428571428571428571428571429", "wrong division")
    return "libmpdec " + _decimal.__libmpdec_version__


def sysconfig_():
    import sysconfig

    bad = {}
    for key, value in sysconfig.get_config_vars().items():
        if isinstance(value, str) and re.search(r"(^|[\s='\":]|-[A-Za-z])/(build|deps|out|scripts|sources)(/|$)", value):
            bad[key] = value
    need(not bad, f"build paths: {bad}")
    strays = {name: path for name, path in sysconfig.get_paths().items() if not (path + "/").startswith(sys.prefix + "/")}
    need(not strays, f"outside {sys.prefix}: {strays}")
    return sysconfig.get_config_var("EXT_SUFFIX")


def pyexpat_():
    import xml.etree.ElementTree as tree
    import pyexpat

    need(tree.fromstring("<a><b>x</b></a>").find("b").text == "x", "wrong tree")
    return pyexpat.EXPAT_VERSION


MODULES = """
_asyncio _bisect _blake2 _bz2 _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _contextvars _csv
_ctypes _curses _curses_panel _datetime _dbm _decimal _elementtree _gdbm _hashlib _heapq _json _lsprof _lzma _md5
_multibytecodec _multiprocessing _opcode _pickle _posixshmem _posixsubprocess _queue _random _sha1 _sha3 _socket
_sqlite3 _ssl _statistics _struct _tkinter _uuid _zoneinfo array binascii cmath fcntl grp math mmap pyexpat readline resource
select syslog termios unicodedata zlib
""".split()

# What some versions have: the first with it, the first without it.
EVER = (99, 0)
MODULES_OF = {
    "_crypt": ((3, 0), (3, 13)),
    "_hmac": ((3, 14), EVER),
    "_interpchannels": ((3, 13), EVER),
    "_interpqueues": ((3, 13), EVER),
    "_interpreters": ((3, 13), EVER),
    "_remote_debugging": ((3, 14), EVER),
    "_sha2": ((3, 12), EVER),
    "_sha256": ((3, 0), (3, 12)),
    "_sha512": ((3, 0), (3, 12)),
    "_xxsubinterpreters": ((3, 7), (3, 13)),
    "_zstd": ((3, 14), EVER),
    "audioop": ((3, 0), (3, 13)),
    "ossaudiodev": ((3, 0), (3, 13)),
    "spwd": ((3, 0), (3, 13)),
}


def modules_():
    missing = []
    wanted = sorted(MODULES + [name for name, (first, end) in MODULES_OF.items() if first <= sys.version_info < end])
    for name in wanted:
        try:
            module = module_of(name)
        except ImportError as error:
            missing.append(f"{name} ({error})")
            continue
        if getattr(module, "__file__", None):
            missing.append(f"{name} (not built in: {module.__file__})")
    need(not missing, "missing: " + ", ".join(missing))
    return f"{len(wanted)} built in"


# Of other systems, or taken out of the tree on purpose.
ELSEWHERE = """
_msi _overlapped _scproxy _winapi _wmi msilib msvcrt nt winreg winsound nis ossaudiodev
lib2to3 test antigravity this
_android_support _apple_support _ios_support _aix_support _osx_support
""".split()


def everything():
    """Every module that this version calls its own can be imported, in a process of its own."""
    program = """
import importlib, sys, warnings
warnings.simplefilter("ignore")
bad = []
names = sorted(set(sys.stdlib_module_names) - set(sys.argv[1:]))
for name in names:
    try:
        importlib.import_module(name)
    except BaseException as error:
        bad.append(f"{name} ({type(error).__name__}: {error})")
print("; ".join(bad) or len(names))
"""
    told = run(sys.executable, "-c", program, *ELSEWHERE)
    need(told.isdigit(), told)
    return told + " modules"


def described():
    import json

    with open(sys.prefix + "/PYTHON.json") as file:
        told = json.load(file)
    version = ".".join(map(str, sys.version_info[:3]))
    need(told["version"].startswith(version), f"PYTHON.json says {told['version']}, this is {version}")
    missing = set(told["modules"]["built_in"]) - set(sys.builtin_module_names)
    need(not missing, f"PYTHON.json names {sorted(missing)}, which are not built in")
    for name in ("interpreter", "libc", "standard_library", "site_packages"):
        need(os.path.exists(os.path.join(sys.prefix, told["paths"][name])), f"no {name}")
    need(told["abi"]["flags"] == sys.abiflags, f"PYTHON.json says ABI flags {told['abi']['flags']!r}, not {sys.abiflags!r}")
    return version


def threading_():
    """Free-threaded or not, and then not by half: name, flags, directories and wheels agree, and no lock comes back."""
    import json
    import sysconfig

    with open(sys.prefix + "/PYTHON.json") as file:
        told = json.load(file)["abi"]["free_threaded"]
    built = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    need(told == built == ("t" in sys.abiflags), f"PYTHON.json {told}, Py_GIL_DISABLED {built}, flags {sys.abiflags!r}")
    name = "python%d.%d%s" % (*sys.version_info[:2], sys.abiflags)
    need(os.path.basename(os.path.realpath(sys.executable)) == name, sys.executable)
    need(sysconfig.get_path("purelib") == f"{sys.prefix}/lib/{name}/site-packages", sysconfig.get_path("purelib"))
    if not built:
        return "with the lock"
    from pip._vendor.packaging import tags

    need(next(tags.cpython_tags()).abi.endswith("t"), f"wheels for {next(tags.cpython_tags())}")
    # A module that does not declare that it can do without brings the lock back, and says so in a warning.
    program = f"import sys, {', '.join(sorted(set(MODULES)))}; print(sys._is_gil_enabled())"
    need(run(sys.executable, "-c", program) == "False", run(sys.executable, "-c", program))
    return "free"


def certificates():
    import ssl

    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        os.environ.pop(variable, None)
    count = ssl.create_default_context().cert_store_stats()["x509_ca"]
    need(count > 50, f"{count} authorities trusted where the system has no bundle")
    return f"{count} authorities"


def tkinter_():
    """Without a display: Tcl and its library work, and Tk says what is missing, which is not a file of ours."""
    import tkinter

    os.environ.pop("DISPLAY", None)
    for variable in ("TCL_LIBRARY", "TK_LIBRARY"):
        need(variable not in os.environ, variable + " is set")
    tcl = tkinter.Tcl()
    where = tcl.eval("info library")
    need(where == f"{sys.base_prefix}/lib/tcl{tkinter.TclVersion}", "Tcl's library is " + where)
    need({"shiftjis", "iso8859-15", "cp1252"} <= set(tcl.splitlist(tcl.eval("encoding names"))), "few encodings")
    need(tcl.eval("encoding convertfrom shiftjis \\x93\\xfa\\x96\\x7b") == "\u65e5\u672c", "wrong Japanese")
    need(tcl.eval("clock format 0 -format %d.%B.%Y -gmt 1 -locale de") == "01.Januar.1970", "no German months")
    need(tcl.eval("package require msgcat; package require http; expr {6 * 7}") == "42", "wrong sum")
    need(tcl.eval("interp create one; one eval {info library}") == where, "an inner interpreter has another library")
    try:
        tkinter.Tk()
    except tkinter.TclError as error:
        need("display" in str(error), str(error))
    else:
        raise AssertionError("a window without a display")
    return "Tcl " + tcl.eval("info patchlevel")


def asyncio_():
    import asyncio

    async def talk():
        async def answer(reader, writer):
            writer.write((await reader.readline()).upper())
            writer.close()

        server = await asyncio.start_unix_server(answer, "/tmp/socket")
        reader, writer = await asyncio.open_unix_connection("/tmp/socket")
        writer.write(b"hello\n")
        line = await reader.readline()
        server.close()
        return line

    need(asyncio.run(talk()) == b"HELLO\n", "wrong answer")


def library():
    """Every module of interest does something real."""
    for name, function in (
        ("modules", modules_),
        ("standard library", everything),
        ("PYTHON.json", described),
        ("threading", threading_),
        ("ssl", ssl_),
        ("TLS of a client that leaves", left_early),
        ("certificates", certificates),
        ("hashlib", hashlib_),
        ("sqlite3", sqlite3_),
        ("lzma", round_trip("lzma")),
        ("bz2", round_trip("bz2")),
        ("zlib", round_trip("zlib")),
        ("ctypes", ctypes_),
        ("libz.so.1", zlib_for_wheels),
        ("readline", readline_),
        ("curses", curses_),
        ("dbm.gnu", dbm_gnu),
        ("dbm.ndbm", dbm_ndbm),
        ("calls of the system", calls),
        ("uuid", uuid_),
        ("decimal", decimal_),
        ("xml", pyexpat_),
        ("tkinter", tkinter_),
        ("asyncio", asyncio_),
        ("sysconfig", sysconfig_),
        ("pip", lambda: run(sys.executable, "-m", "pip", "--version").split(" from ")[0]),
    ):
        check(name, function)


if __name__ == "__main__":
    library()
