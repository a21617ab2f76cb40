"""Finishes the release tree. Run by the interpreter that it finishes; standard library only, Python 3.10 and later.

    finish.py loader PROGRAM          takes PT_INTERP out of the interpreter: it finds its loader itself (cpython/entry.c)
    finish.py tree TREE SHARE         scripts, sysconfig, pip's records, byte code, PYTHON.json, and the look for build paths
    finish.py link TREE               what to give to a compiler in the directory of the static pieces to link an interpreter
    finish.py compile TREE I N        the I-th of N parts of the byte code; started by `tree`

What always holds afterwards: the same input gives the same bytes; nothing in the tree names a directory of the build; what names
/opt/python is told the real place when it is read, where a reader allows it.
"""
import base64
import csv
import hashlib
import io
import json
import os
import platform
import pprint
import py_compile
import re
import stat
import struct
import subprocess
import sys
import sysconfig

import sizes

INSTALLED = "/opt/python"        # where the tree was configured to be, and what people read in documentation
BUILD = "/build/cpython"         # where it was compiled
SYSROOT = "/deps"                # where libraries and headers were
FORBIDDEN = (b"/deps/", b"/build/cpython", b"/build/entry.o", b"/build/memory", b"/build/scheduler",
             b"/build/stage", b"/out/opt")
# Directories of the library that get no byte code. Not _distutils_hack: a .pth file imports it at every start.
RARE = ("idlelib/", "lib2to3/", "pydoc_data/", "turtledemo/", "site-packages/setuptools/", "site-packages/pkg_resources/")
PARTS = 2                        # of byte code; fixed, or the number of cores would be in the output

FREE_THREADED = "t" in sys.abiflags
NAME = "python%d.%d" % sys.version_info[:2] + sys.abiflags        # of the interpreter and of its directories: python3.13t

# What configure leaves out without a word when it does not find a library. Names as in sys.builtin_module_names.
REQUIRED = """_asyncio _bisect _blake2 _bz2 _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _contextvars _csv
_ctypes _curses _curses_panel _datetime _dbm _decimal _elementtree _gdbm _hashlib _heapq _json _lsprof _lzma _md5 _multibytecodec
_multiprocessing _opcode _pickle _posixshmem _posixsubprocess _queue _random _sha1 _sha3 _socket _sqlite3 _ssl _statistics _struct
_tkinter _uuid _zoneinfo array binascii cmath fcntl grp math mmap pyexpat readline resource select syslog termios unicodedata zlib""".split()
REQUIRED_BEFORE = {(3, 12): ["_sha256", "_sha512"],
                   (3, 13): ["_crypt", "_xxsubinterpreters", "audioop", "ossaudiodev", "spwd"]}
REQUIRED_FROM = {(3, 12): ["_sha2"], (3, 13): ["_interpchannels", "_interpqueues", "_interpreters"],
                 (3, 14): ["_hmac", "_remote_debugging", "_zstd"]}


def refuse(*words):
    sys.exit("finish.py: " + " ".join(str(w) for w in words))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, content):
    """Keeps the mode of what it replaces."""
    mode = stat.S_IMODE(os.stat(path).st_mode) if os.path.exists(path) else 0o644
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)


def files(tree):
    """Every regular file, in one order on every file system. Links are not followed."""
    for directory, names, plain in os.walk(tree):
        names.sort()
        for name in sorted(plain):
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                yield path


def drop_loader(program):
    """PT_INTERP becomes PT_NULL, and the path that it named becomes zeros."""
    image = bytearray(read(program))
    if image[:4] != b"\x7fELF":
        refuse(program, "is no ELF file")
    if image[4] == 2:
        table, = struct.unpack_from("<Q", image, 32)
        size, count = struct.unpack_from("<HH", image, 54)
        place, length = ("<Q", 8), ("<Q", 32)
    else:
        table, = struct.unpack_from("<I", image, 28)
        size, count = struct.unpack_from("<HH", image, 42)
        place, length = ("<I", 4), ("<I", 16)
    dropped = 0
    for header in range(table, table + count * size, size):
        if struct.unpack_from("<I", image, header)[0] == 3:
            start, = struct.unpack_from(place[0], image, header + place[1])
            bytes_, = struct.unpack_from(length[0], image, header + length[1])
            image[start:start + bytes_] = bytes(bytes_)
            image[header:header + size] = bytes(size)
            dropped += 1
    if dropped != 1:
        refuse(program, "has", dropped, "PT_INTERP, expected one")
    write(program, bytes(image))


def compiler_directory(library):
    """Where the programs are that sysconfig calls compilers (compiler.sh), as seen in an installed tree."""
    name, = (name for name in os.listdir(library) if name.startswith("config-"))
    return f"{INSTALLED}/lib/{os.path.basename(library)}/{name}"


def with_compiler(name, value, directory):
    """Names compilers by path. Ours only look for the toolchain package; gcc-ar and the like would need gcc's plugin."""
    if name == "CONFIG_ARGS":
        return value
    triple = os.environ["DOCKLESS_TRIPLE"]
    if name == "AR":
        return f"{directory}/{triple}-ar"
    return re.sub(rf"(?<![\w/-]){triple}-(gcc|g\+\+)(?![\w-])", lambda found: f"{directory}/{found[0]}", value)


def without_build(value):
    """A value of sysconfig or a line of the Makefile without the directories of the build."""
    value = re.sub(r"'[^']*/deps[^']*' ?", "", value)                  # CONFIG_ARGS: whole arguments
    value = re.sub(r"-[IL]/deps\S*|-LModules/_hacl", "", value)
    value = re.sub(r"/build/\w+\.o|-Wl,-e,dockless_entry", "", value)
    value = re.sub(r"/deps/\S*", "", value)
    return value.replace(BUILD, ".")


def mend_sysconfig(library):
    """_sysconfigdata names no build path and tells the place where the tree is now."""
    compilers = compiler_directory(library)
    for name in sorted(os.listdir(library)):
        path = os.path.join(library, name)
        if name.startswith("_sysconfigdata_") and name.endswith(".py"):
            scope = {}
            exec(compile(read(path), name, "exec"), scope)
            variables = {k: mend_variable(k, v, compilers) for k, v in scope["build_time_vars"].items()}
            write(path, (
                "# What the interpreter was built with; read by sysconfig.\n"
                "import sys as _sys\n\n"
                "build_time_vars = " + pprint.pformat(variables, width=120) + "\n\n"
                "# The tree may be anywhere; what was configured is only where it usually is.\n"
                f"if _sys.base_prefix != {INSTALLED!r}:\n"
                "    for _name, _value in build_time_vars.items():\n"
                f"        if isinstance(_value, str) and {INSTALLED!r} in _value:\n"
                f"            if {compilers!r} in _value and not _sys.base_prefix.replace('/', '').isalnum():\n"
                "                # A compiler is a command line: what the shell would split is quoted.\n"
                "                import re as _re, shlex as _shlex\n"
                f"                _value = _re.sub({compilers + '/[^ ]*'!r}, lambda found: _shlex.quote(found[0].replace(\n"
                f"                    {INSTALLED!r}, _sys.base_prefix)), _value)\n"
                "            else:\n"
                f"                _value = _value.replace({INSTALLED!r}, _sys.base_prefix)\n"
                "            build_time_vars[_name] = _value\n").encode())
        elif name.startswith("_sysconfig_vars_") and name.endswith(".json"):
            variables = {k: mend_variable(k, v, compilers) for k, v in json.loads(read(path)).items()}
            # Of whoever runs, not of who built.
            variables.pop("userbase", None)
            write(path, (json.dumps(variables, indent=2, sort_keys=True) + "\n").encode())
        elif name == "build-details.json":
            # PEP 739: base_prefix may be relative to this file, and other paths to base_prefix.
            details = relative_to_prefix(json.loads(read(path)))
            details["base_prefix"] = "../.."
            details.get("libpython", {}).pop("static", None)
            write(path, (json.dumps(details, indent=2) + "\n").encode())
        elif name.startswith("config-"):
            makefile = os.path.join(path, "Makefile")
            # make needs no quotes where there are none of the tree's own: $(prefix) is where this file is.
            here = compilers.replace(INSTALLED, "$(prefix)", 1)
            lines = [mend_makefile_line(line, here) for line in read(makefile).decode().splitlines()]
            write(makefile, ("\n".join(lines) + "\n").encode())


def relative_to_prefix(value):
    if isinstance(value, dict):
        return {k: relative_to_prefix(v) for k, v in value.items()}
    if isinstance(value, list):
        return [relative_to_prefix(v) for v in value]
    return value[len(INSTALLED) + 1:] if isinstance(value, str) and value.startswith(INSTALLED + "/") else value


def mend_variable(name, value, compilers):
    if not isinstance(value, str):
        return value
    if name == "LINKFORSHARED":
        return "-Wl,-export-dynamic"
    if name == "RANLIB":
        return value.replace("gcc-", "")
    if name in ("MODLIBS", "LOCALMODLIBS", "BASEMODLIBS"):
        return ""                # the libraries are inside the interpreter, there is nothing to link
    if SYSROOT in value or BUILD in value or "/build/" in value:
        value = without_build(value)
    return with_compiler(name, value, compilers)


def mend_makefile_line(line, compilers):
    name = re.match(r"(\w+)\s*=", line)
    if name and name[1] in ("LINKFORSHARED", "MODLIBS", "LOCALMODLIBS", "BASEMODLIBS"):
        return f"{name[1]}=\t{mend_variable(name[1], '', compilers)}"
    if name and name[1] == "prefix":
        return "prefix=\t\t$(abspath $(dir $(lastword $(MAKEFILE_LIST)))/../../..)"
    if name and name[1] in ("AR", "RANLIB"):
        return f"{name[1]}=\t\t{mend_variable(name[1], line.split('=', 1)[1].strip(), compilers)}"
    return with_compiler(name[1], without_build(line), compilers) if name else without_build(line)


def mend_scripts(tree, program):
    """`#!` lines that find the interpreter beside the script: an absolute one is wrong after a move."""
    shell = (f"#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")/{program}\" \"$0\" \"$@\"\n' '''\n").encode()
    changed = {}
    directory = os.path.join(tree, "bin")
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        content = read(path)
        if content.startswith(b"#!") and b"python" in content.split(b"\n", 1)[0]:
            content = shell + content.split(b"\n", 1)[1]
            write(path, content)
            changed[os.path.realpath(path)] = content
    # pip remembers the digests of the scripts it wrote.
    for path in list(files(os.path.join(tree, "lib"))):
        if not path.endswith(".dist-info/RECORD"):
            continue
        site = os.path.dirname(os.path.dirname(path))
        rows = []
        for row in csv.reader(io.StringIO(read(path).decode(), newline="")):
            if row[0].endswith(".exe"):
                continue         # drop_launchers
            content = changed.get(os.path.realpath(os.path.join(site, row[0])))
            if content is not None:
                digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                row = [row[0], "sha256=" + digest, str(len(content))]
            rows.append(row)
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        write(path, text.getvalue().encode())


def mend_pkgconfig(tree):
    directory = os.path.join(tree, "lib", "pkgconfig")
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if not os.path.islink(path):
            write(path, without_build(read(path).decode()).replace(
                "prefix=" + INSTALLED, "prefix=${pcfiledir}/../..", 1).encode())


def drop_launchers(tree):
    """The programs that pip and setuptools copy beside scripts on Windows: 700 kB, compressed, that no Linux runs."""
    for path in list(files(os.path.join(tree, "lib", NAME, "site-packages"))):
        if path.endswith(".exe"):
            os.unlink(path)


def is_rare(tree, path):
    """What hardly anybody imports makes its byte code when it is imported, and a download of a tenth less for all others."""
    return os.path.relpath(path, os.path.join(tree, "lib", NAME)).startswith(RARE)


def is_test(tree, path):
    """Tests of the -full tree get no byte code: some are no Python on purpose, and some are about the byte code beside them."""
    return bool({"test", "tests", "idle_test"} & set(os.path.relpath(path, tree).split(os.sep)[2:-1])) and "site-packages" not in path


def compile_part(tree, part, parts):
    """Byte code that is never checked against a time stamp or a source: `unchecked-hash`.

    One process compiles a fixed list in a fixed order, for what was interned before shows in the output of marshal.
    """
    sources = [p for p in files(os.path.join(tree, "lib")) if p.endswith(".py")]
    sources = [p for p in sources if not is_test(tree, p) and not is_rare(tree, p)]
    for path in sources[part::parts]:
        shown = INSTALLED + path[len(tree):]
        try:
            py_compile.compile(path, dfile=shown, doraise=True, quiet=1, optimize=0,
                               invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        except py_compile.PyCompileError as error:
            # Templates that are no Python yet (lib2to3 has none any more, pip and setuptools may): left without byte code.
            print("not compiled:", shown, error.exc_type_name)


def compile_all(tree):
    workers = [subprocess.Popen([sys.executable, __file__, "compile", tree, str(part), str(PARTS)]) for part in range(PARTS)]
    for status in [worker.wait() for worker in workers]:
        if status:
            refuse("compiling ended with", status)


def check_modules():
    version = sys.version_info[:2]
    required = set(REQUIRED)
    for before, names in REQUIRED_BEFORE.items():
        required |= set(names) if version < before else set()
    for since, names in REQUIRED_FROM.items():
        required |= set(names) if version >= since else set()
    missing = sorted(required - set(sys.builtin_module_names))
    if missing:
        refuse("these modules are not in the interpreter:", *missing)


def check_threading():
    """The build is what was asked for: free-threaded or not."""
    wanted = os.environ.get("DOCKLESS_FREE_THREADED") == "1"
    found = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    if (found, FREE_THREADED) != (wanted, wanted):
        refuse("free-threaded build wanted:", wanted, "Py_GIL_DISABLED:", found, "abiflags:", repr(sys.abiflags))


def check_paths(tree):
    for path in files(tree):
        content = read(path)
        for word in FORBIDDEN:
            at = content.find(word)
            # A wheel is compressed and other people's; a match there is chance.
            if at >= 0 and not path.endswith(".whl"):
                refuse(path, "names", word.decode() + ":", content[max(0, at - 60):at + 60])


def describe(tree, program, share):
    """PYTHON.json: what this tree is, for programs. Paths are relative to the tree, sizes in bytes and without this file."""
    variable = sysconfig.get_config_var
    machine = {"x86_64": "x86_64", "x86": "i686"}[os.environ["DOCKLESS_ARCH"]]
    versions = os.path.join(share, "versions")
    known = {name: read(os.path.join(versions, name)).decode().strip() for name in sorted(os.listdir(versions))}
    licences = os.path.join(tree, "share", "licenses")
    built = json.loads(read(os.path.join(os.path.dirname(versions), "profile.json")))
    def relative(path):
        return os.path.relpath(path, INSTALLED if path.startswith(INSTALLED) else tree)
    description = {
        "format": 1,
        "implementation": "cpython",
        "version": platform.python_version(),
        "series": "%d.%d" % sys.version_info[:2],
        "architecture": os.environ["DOCKLESS_ARCH"],
        "triple": os.environ["DOCKLESS_TRIPLE"],
        "profile": built["profile"],
        "trained_profile": {"file": built["archive"], "sha256": built["sha256"]} if built["archive"] else None,
        "libc": {"name": "musl", "version": known["musl"]},
        "abi": {
            "soabi": variable("SOABI"),
            "extension_suffix": variable("EXT_SUFFIX"),
            "cache_tag": sys.implementation.cache_tag,
            "flags": sys.abiflags,
            "free_threaded": FREE_THREADED,
            "wheel_python": "cp%d%d" % sys.version_info[:2],
            "wheel_abi": "cp%d%d" % sys.version_info[:2] + sys.abiflags,
            "wheel_platforms": [f"musllinux_1_{minor}_{machine}" for minor in (2, 1, 0)] + [f"linux_{machine}"],
        },
        "paths": {
            "interpreter": "bin/" + program,
            "libc": "shared_libraries/lib/libc.so",
            "standard_library": relative(sysconfig.get_path("stdlib")),
            "site_packages": relative(sysconfig.get_path("purelib")),
            "include": relative(sysconfig.get_path("include")),
            "compiler": relative(compiler_directory(os.path.join(tree, "lib", program)) + "/" + os.environ["DOCKLESS_TRIPLE"] + "-gcc"),
            "licences": "share/licenses",
            "certificates": "share/ca-certificates/cacert.pem",
        },
        **({"static": static(tree)} if static(tree) else {}),
        "modules": {
            "built_in": sorted(sys.builtin_module_names),
        },
        "components": {
            name: {"version": version, "licences": sorted(
                "share/licenses/%s/%s" % (name, file) for file in os.listdir(os.path.join(licences, name)))}
            for name, version in known.items()
        },
        "sizes": sizes.measure(tree, files(tree), program, os.path.join(share, "sizes", "interpreter.json")),
    }
    write(os.path.join(tree, "PYTHON.json"), (json.dumps(description, indent=2) + "\n").encode())


def static(tree):
    """What of the -full tree an interpreter can be linked of: a directory, and the compiler's arguments in it."""
    directory = os.path.join(os.path.dirname(os.__file__), os.path.basename(sysconfig.get_config_var("LIBPL")))
    names = sorted(name for name in os.listdir(directory) if name.endswith((".a", ".o")))
    if not names:
        return {}
    # The objects come first: of them, not of archives, is what the C API of the interpreter shows to extension modules.
    objects = [name for name in names if name.endswith(".o")]
    python = [name for name in names if name.startswith("libpython")]
    others = [name for name in names if name.endswith(".a") and name not in python]
    link = ["-no-pie", "-Wl,-export-dynamic", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,stack-size=8388608"]
    # Without -e dockless_entry: such an interpreter has a loader as every program.
    link += objects + ["-Wl,--whole-archive", *python, "-Wl,--no-whole-archive"]
    link += ["-Wl,--start-group", *others, "-Wl,--end-group", "-lm"]
    return {"directory": os.path.relpath(directory, tree), "link": link}


def finish(tree, share):
    library = os.path.join(tree, "lib", NAME)
    check_modules()
    check_threading()
    for directory, names, _ in os.walk(tree):
        if os.path.basename(directory) == "__pycache__":
            for name in os.listdir(directory):
                os.unlink(os.path.join(directory, name))
    mend_sysconfig(library)
    drop_launchers(tree)
    mend_scripts(tree, NAME)
    mend_pkgconfig(tree)
    compile_all(tree)
    describe(tree, NAME, share)
    check_paths(tree)


if __name__ == "__main__":
    if sys.argv[1] == "loader":
        drop_loader(sys.argv[2])
    elif sys.argv[1] == "tree":
        finish(sys.argv[2], sys.argv[3])
    elif sys.argv[1] == "link":
        print("\n".join(static(sys.argv[2])["link"]))
    elif sys.argv[1] == "compile":
        compile_part(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        refuse("unknown command", sys.argv[1])
