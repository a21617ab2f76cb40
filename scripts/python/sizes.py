"""What the tree is made of, in bytes: by part, so that every file is in one, and the interpreter by component."""
import json
import os
import zlib

# A path is in the first part that it is or whose beginning (with a `*`) it has; {lib} is lib/python3.X.
PARTS = (
    ("interpreter", "bin/{program}"),
    ("debug information", "bin/.debug/*"),
    ("scripts", "bin/*"),
    ("libc", "shared_libraries/lib/libc.so"),
    ("shared libraries", "shared_libraries/*"),
    ("tcl", "lib/tcl*"),
    ("tk", "lib/tk*"),
    ("pip", "{lib}/site-packages/pip*"),
    ("site-packages", "{lib}/site-packages/*"),
    ("ensurepip", "{lib}/ensurepip/*"),
    ("configuration", "{lib}/config-*"),
    ("configuration", "{lib}/_sysconfig*"),
    ("configuration", "lib/pkgconfig/*"),
    ("extension modules", "{lib}/lib-dynload/*"),
    ("standard library", "{lib}/*"),
    ("headers", "include/*"),
    ("certificates", "share/ca-certificates/*"),
    ("licences", "share/licenses/*"),
)
BYTE_CODE = "/__pycache__/"


TESTS = {"test", "tests", "idle_test"}


def part(path, program):
    if TESTS & set(path.split("/")[2:-1]) and "/site-packages/" not in path:
        return "tests"
    for name, pattern in PARTS:
        start = pattern.format(program=program, lib="lib/" + program)
        if path == start or start.endswith("*") and path.startswith(start[:-1]):
            if name == "configuration" and path.endswith((".a", ".o")):
                return "static pieces"
            return name + (" (byte code)" if BYTE_CODE in path else "")
    raise ValueError(path)


def measure(tree, files, program, link_map):
    """Returns the `sizes` of PYTHON.json. `compressed`: the part alone by gzip's algorithm at its best, so the tarball is a little
    smaller or larger than their sum. `link_map`: JSON of cpython/linkmap.py."""
    parts = {}
    for path in files:
        name = part(os.path.relpath(path, tree), program)
        with open(path, "rb") as file:
            parts.setdefault(name, []).append(file.read())
    sizes = {
        name: {
            "files": len(contents),
            "bytes": sum(map(len, contents)),
            "compressed": len(zlib.compress(b"".join(contents), 9)),
        }
        for name, contents in sorted(parts.items())
    }
    with open(link_map) as file:
        inside = json.load(file)
    # Headers, symbols and relocations: the linker's, and of nobody.
    inside["link"] = sizes["interpreter"]["bytes"] - sum(inside.values())
    if inside["link"] < 0:
        raise ValueError(f"the parts of {program} are larger than it: {inside}")
    return {
        "files": sum(size["files"] for size in sizes.values()),
        "tree": sum(size["bytes"] for size in sizes.values()),
        "interpreter": sizes["interpreter"]["bytes"],
        "libc": sizes["libc"]["bytes"],
        "parts": sizes,
        "inside": dict(sorted(inside.items())),
    }
