"""What the tree says of itself, and what of it others see, run by the Python under test: `contract.py contract|compiler`.

Beside checks.py, and in its form: one line a check. `contract` runs in a root that holds the moved tree alone; `compiler` where
the machine's shell is, too.
"""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time

sys.path.insert(0, "/")
from checks import check, need, run  # noqa: E402

MOVED = "/moved/python"


def moved(program, **environment):
    """Runs a program by the moved tree."""
    return run(MOVED + "/bin/python3", "-c", program, env=dict({"PATH": "/nowhere"}, **environment))


def configuration():
    """After a move every path of sysconfig is in the moved tree, and those that must be there are."""
    told = json.loads(moved("""
import json, sysconfig
print(json.dumps([sysconfig.get_config_vars(), sysconfig.get_paths(), sysconfig.get_makefile_filename(),
                  sysconfig.get_config_h_filename()]))
"""))
    variables, paths, *files = told
    stale = {k: v for k, v in variables.items() if isinstance(v, str) and "/opt/python" in v and k != "CONFIG_ARGS"}
    need(not stale, f"still at /opt/python: {stale}")
    there = [variables[k] for k in ("INCLUDEPY", "LIBPL", "BINDIR", "LIBDEST")] + files + [paths["include"], paths["stdlib"]]
    missing = [path for path in there if not os.path.exists(path)]
    need(not missing, f"not there: {missing}")
    need(os.path.exists(paths["include"] + "/Python.h"), "no Python.h")
    for name in ("CC", "CXX", "LDSHARED", "LDCXXSHARED", "AR"):
        program = variables[name].split()[0]
        need(program.startswith(MOVED + "/lib/") and os.access(program, os.X_OK), f"{name} is {variables[name]}")
    return f"{len(variables)} variables"


def description():
    """PYTHON.json against the interpreter and the files."""
    with open(sys.prefix + "/PYTHON.json") as file:
        told = json.load(file)
    need(set(told["modules"]["built_in"]) == set(sys.builtin_module_names), "another list of built-in modules")
    for name, path in told["paths"].items():
        need(os.path.exists(os.path.join(sys.prefix, path)), f"paths.{name}: no {path}")
    for key, variable in (("soabi", "SOABI"), ("extension_suffix", "EXT_SUFFIX")):
        need(told["abi"][key] == sysconfig.get_config_var(variable), f"{variable} is not {told['abi'][key]}")
    need(told["abi"]["cache_tag"] == sys.implementation.cache_tag, "another cache tag")
    need(told["libc"]["version"], "no version of the C library")
    return told["abi"]["extension_suffix"]


def licences():
    """Every component has a version and the text of its licence, and no directory of licences is of nothing."""
    with open(sys.prefix + "/PYTHON.json") as file:
        components = json.load(file)["components"]
    # What no Python is without; what else is inside depends on the version.
    absent = {"cpython", "musl", "openssl", "sqlite", "zlib", "xz", "bzip2", "libffi", "expat", "ncurses", "readline"} - set(components)
    need(not absent, f"no licences of {sorted(absent)}")
    for name, component in components.items():
        need(component["version"], f"{name} has no version")
        need(component["licences"], f"{name} has no licence")
        for path in component["licences"]:
            need(os.path.getsize(os.path.join(sys.prefix, path)) > 200, f"{path} holds no licence")
    directories = set(os.listdir(sys.prefix + "/share/licenses"))
    need(directories == set(components), f"components and licences differ: {sorted(directories ^ set(components))}")
    return f"{len(components)} components"


def seen():
    """What ps, debuggers and profilers go by: one process, whose program is python3.X and whose C library is the tree's."""
    program = "python%d.%d" % sys.version_info[:2]
    exe = os.readlink("/proc/self/exe")
    need(os.path.basename(exe).startswith(program), f"/proc/self/exe is {exe}")
    with open("/proc/self/comm") as file:
        comm = file.read().strip()
    need(comm.startswith("python3"), f"ps shows {comm}")
    with open("/proc/self/maps") as file:
        mapped = {line.split()[-1] for line in file if line.split()[-1].startswith("/")}
    need(mapped == {exe, sys.prefix + "/shared_libraries/lib/libc.so"}, f"mapped: {sorted(mapped)}")
    return exe


def hidden():
    """Extension modules see the C API and none of the libraries inside."""
    names = ctypes.CDLL(None)
    need(hasattr(names, "Py_IncRef") and hasattr(names, "PyModule_Create2"), "the C API is hidden")
    inside = "SSL_new EVP_MD_CTX_new sqlite3_open deflate BZ2_bzCompress lzma_code ffi_call XML_ParserCreate gdbm_open initscr uuid_generate"
    found = [name for name in inside.split() if hasattr(names, name)]
    need(not found, f"seen by every extension module: {', '.join(found)}")


def late_times():
    """64 bits of time on both architectures."""
    late = 2**33
    need(time.gmtime(late).tm_year == 2242, "gmtime")
    path = "/tmp/late"
    with open(path, "w"):
        os.utime(path, (late, late))
    need(os.stat(path).st_mtime == late, f"a file of {os.stat(path).st_mtime}")


def own_authorities():
    """Whoever names certificates gets those and no others."""
    first = "import re; print(re.search('-----BEGIN.*?END CERTIFICATE-----', open(%r).read(), re.S)[0])"
    with open("/tmp/one.pem", "w") as file:
        file.write(run(sys.executable, "-c", first % (sys.prefix + "/share/ca-certificates/cacert.pem")))
    count = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'])"
    for variable, path, wanted in (("SSL_CERT_FILE", "/tmp/one.pem", "1"), ("SSL_CERT_FILE", "/nonexistent", "0")):
        told = moved(count, **{variable: path})
        need(told == wanted, f"{variable}={path}: {told} authorities, not {wanted}")


def contract():
    for name, function in (
        ("sysconfig after a move", configuration),
        ("PYTHON.json", description),
        ("licences", licences),
        ("seen as python3.X", seen),
        ("libraries inside are hidden", hidden),
        ("times after 2106", late_times),
        ("SSL_CERT_FILE", own_authorities),
    ):
        check(name, function)


def compiler():
    """Without the toolchain package the compiler says what is missing; beside the tree it is found."""
    if not os.path.exists("/bin/sh"):
        print("skip", "compiler", "this machine has no /bin/sh", sep="\t")
        return
    tools = "/tmp/tools"
    os.makedirs(tools)
    for name in ("dirname", "cat"):
        os.symlink(next(d + name for d in ("/usr/bin/", "/bin/") if os.path.exists(d + name)), tools + "/" + name)

    def tool(prefix, name, *args):
        variable = "import sysconfig; print(sysconfig.get_config_var(%r))" % name
        program = run(prefix + "/bin/python3", "-c", variable).split()[0]
        done = subprocess.run([program, *args], env={"PATH": tools}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return program, done.returncode, done.stdout.decode()

    def missing():
        for name in ("CC", "CXX"):
            program, status, told = tool(MOVED, name, "-c", "x.c")
            need(status == 127, f"{name} ended with {status}: {told}")
            for words in (r"toolchain package, python-toolchain-x86(_64)?\.tar\.gz", "beside /moved/python", "--only-binary"):
                need(re.search(words, told), f"{name} does not say {words}: {told}")
        return os.path.basename(program)

    def beside():
        # The tree is read-only and so is what is beside it: the program alone, where a tree would have it.
        program = tool(MOVED, "CC")[0]
        name = os.path.basename(program)
        ours, theirs = "/tmp/beside/tree/lib/python3/config-3", "/tmp/beside/python-toolchain/bin"
        os.makedirs(ours)
        os.makedirs(theirs)
        shutil.copy(program, ours)
        with open(f"{theirs}/{name}", "w") as file:
            file.write("#!/bin/sh\necho here: \"$@\"\n")
        os.chmod(f"{theirs}/{name}", 0o755)
        told = run(f"{ours}/{name}", "-c", "a b.c", env={"PATH": tools})
        need(told == "here: -c a b.c", told)

    check("a missing toolchain is named", missing)
    check("a toolchain beside is found", beside)


if __name__ == "__main__":
    {"contract": contract, "compiler": compiler}[sys.argv[1]]()
