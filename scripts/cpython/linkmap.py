"""What the interpreter is made of: bytes of code and data by component, read from the linker's map. Prints JSON.

    linkmap.py MAP

A component is a recipe. Tcl and Tk are one object (tk.sh), so both count as tk. Tables that the linker writes itself (symbols, hashes,
global offsets) belong to nobody and are not counted, nor is memory that starts out zero and has no place in the file.
"""
import collections
import json
import os
import re
import sys

COMPONENTS = {
    "libbz2.a": "bzip2", "libcrypto.a": "openssl", "libcursesw.a": "ncurses", "libexpat.a": "expat", "libffi.a": "libffi",
    "libgdbm.a": "gdbm", "libgdbm_compat.a": "gdbm", "liblzma.a": "xz", "libncursesw.a": "ncurses", "libpanelw.a": "ncurses",
    "libreadline.a": "readline", "libhistory.a": "readline", "libsqlite3.a": "sqlite", "libssl.a": "openssl", "libuuid.a": "libuuid",
    "libX11.a": "libx11", "libXau.a": "libxau", "libxcb.a": "libxcb", "libz.a": "zlib", "libzstd.a": "zstd",
    "mimalloc.o": "mimalloc", "tcltk.o": "tk",
    # Start files and what libc.so leaves to be linked statically.
    "crt1.o": "musl", "Scrt1.o": "musl", "rcrt1.o": "musl", "crti.o": "musl", "crtn.o": "musl", "libc.a": "musl",
}
INPUT = re.compile(r" \S+ +0x0*([0-9a-f]+) +0x([0-9a-f]+) (.+)$")
ZERO = (".bss", ".tbss")
# What debuggers read is not loaded, and strip takes it out. Only the first input section of one is at address zero.
UNLOADED = (".debug_", ".comment", ".gnu.lto_")


def component(place):
    file = os.path.basename(place.split("(")[0])
    if not place.startswith("/deps/"):
        # The compiler's own library is so small that nobody asks; everything else was compiled here.
        return "cpython"
    if file not in COMPONENTS:
        sys.exit(f"linkmap.py: which component is {place} of?")
    return COMPONENTS[file]


def read(lines):
    sizes = collections.Counter()
    lines = iter(lines)
    for line in lines:
        if line.startswith("Linker script and memory map"):
            break
    section = ""
    for line in lines:
        line = line.rstrip("\n")
        if re.fullmatch(r" ?\.?\S+", line):
            # A long name is alone on its line.
            line += " " + next(lines).strip()
        if line[:1] not in ("", " "):
            section = line.split()[0]
        found = INPUT.match(line)
        if found and found[1] and section not in ZERO and not section.startswith(UNLOADED):
            sizes[component(found[3])] += int(found[2], 16)
    return sizes


if __name__ == "__main__":
    with open(sys.argv[1]) as map_file:
        found = read(map_file)
    if not found["cpython"] or not found["openssl"]:
        sys.exit("linkmap.py: no map of an interpreter: " + sys.argv[1])
    print(json.dumps(dict(sorted(found.items())), indent=2))
