#!/bin/sh
# What sysconfig of this Python calls its compiler (@TRIPLE@-gcc, -g++) and its ar. It compiles nothing itself: it finds the
# compiler of the optional toolchain package beside the tree, and says what is missing where there is none.

tool=${0##*-}
here=$(CDPATH='' cd -P -- "$(dirname -- "$0")" && pwd) || exit 1
tree=$(CDPATH='' cd -P -- "$here/../../.." && pwd) || exit 1
beside=$(dirname -- "$tree")/python-toolchain

if [ -x "$beside/bin/@TRIPLE@-$tool" ]; then exec "$beside/bin/@TRIPLE@-$tool" "$@"; fi

# A compiler for musl of the user's own; or a machine whose own C library is musl. They may lack headers, the kernel's for one.
other() {
    status=0
    "$@" || status=$?
    if [ $status -ne 0 ]; then
        echo "@TRIPLE@-$tool: $1 was used, for there is no toolchain package at $beside" >&2
        echo "  (python-toolchain-@ARCH@.tar.gz, which brings musl's and the kernel's headers for this Python)" >&2
    fi
    exit $status
}
found=$(command -v "@TRIPLE@-$tool")
if [ -n "$found" ] && ! [ "$found" -ef "$0" ]; then other "$found" "$@"; fi
case $tool in gcc) own=cc ;; *) own=$tool ;; esac
if command -v "$own" > /dev/null; then
    if [ "$tool" = ar ]; then exec ar "$@"; fi
    case $("$own" -dumpmachine 2> /dev/null) in @CPU@-*-musl*) other "$own" "$@" ;; esac
fi

cat >&2 <<END
@TRIPLE@-$tool: no compiler for this Python, which is linked to musl, not to this system's C library.
  Looked for $beside/bin/@TRIPLE@-$tool
  and for @TRIPLE@-$tool in PATH.
  Missing: the toolchain package, python-toolchain-@ARCH@.tar.gz, to be unpacked so that the directory
  python-toolchain lies beside $tree.
  Or install a wheel: pip install --only-binary :all: PACKAGE
END
exit 127
