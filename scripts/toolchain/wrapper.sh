#!/bin/sh
# A compiler for musl out of one for something else: @TRIPLE@-gcc, -g++ and -ar are this script.
#
# C: a gcc of the machine that can compile for @ARCH@, told by musl-gcc.specs to use the headers and libraries beside this script;
#    else zig. C++: zig, because the C++ library of a gcc for glibc is one for glibc.
# zig is looked for in the directory ziglang beside bin, where `pip install --target` puts it, and in PATH.
# PYTHON_TOOLCHAIN_CC names the gcc to be used instead of those looked for.

tool=${0##*-}
case $0 in */*) ;; *) set -- "$(command -v -- "$0")" "$@"; self=$1; shift ;; esac
self=${self:-$0}
while [ -L "$self" ]; do
    target=$(readlink "$self")
    case $target in /*) self=$target ;; *) self=$(dirname -- "$self")/$target ;; esac
done
root=$(CDPATH='' cd -P -- "$(dirname -- "$self")/.." && pwd) || exit 1

say() { printf '%s: %s\n' "@TRIPLE@-$tool" "$*" >&2; }

missing() {
    say "$1"
    say "install $2, or, without rights on this machine:"
    say "  pip install --target '$root' ziglang"
    exit 127
}

case @ARCH@ in
x86_64) machine=-m64 target=x86_64-linux-musl cpu=x86_64 ;;
*) machine="-m32 -march=i686 -mtune=generic" target=x86-linux-musl cpu=i686 ;;
esac

find_zig() {
    for zig in "$root/ziglang/zig" "$(command -v zig)" "$(command -v python-zig)"; do
        if [ -n "$zig" ] && [ -x "$zig" ]; then return 0; fi
    done
    return 1
}

if [ "$tool" = ar ]; then
    if command -v ar > /dev/null; then exec ar "$@"; fi
    if find_zig; then exec "$zig" ar "$@"; fi
    missing "there is no ar here" "your system's package binutils"
fi

language=$tool
for argument; do
    case $argument in
    --print-multiarch | -print-multiarch | -dumpmachine) echo @TRIPLE@; exit ;;
    # Builders that know one compiler only give it C++, too.
    *.cc | *.cpp | *.cxx | *.C | *.c++ | -lstdc++ | -xc++ | c++) language=g++ ;;
    esac
done

if [ $language = gcc ]; then
    PYTHON_TOOLCHAIN=$root
    export PYTHON_TOOLCHAIN
    for gcc in ${PYTHON_TOOLCHAIN_CC:-gcc @CROSS@}; do
        if ! command -v "$gcc" > /dev/null; then continue; fi
        # -march=native and the like of the caller come later and win.
        # shellcheck disable=SC2086 # the machine is one option or several
        library=$("$gcc" $machine -specs "$root/lib/musl-gcc.specs" -print-libgcc-file-name 2> /dev/null)
        # shellcheck disable=SC2086
        if [ -f "$library" ]; then exec "$gcc" $machine -specs "$root/lib/musl-gcc.specs" "$@"; fi
        unfit=$gcc
    done
    if find_zig; then
        # -fno-sanitize: zig's own checks for undefined behaviour call functions that no Python has.
        exec "$zig" cc -target $target -mcpu=$cpu -fno-sanitize=undefined "$@"
    fi
    if [ -n "${unfit:-}" ]; then
        missing "$unfit of this machine cannot compile for @ARCH@ (it has no libgcc for it)" "gcc for @ARCH@ (Debian and Ubuntu: @PACKAGE@)"
    fi
    missing "there is no C compiler here" "gcc (Debian and Ubuntu: @PACKAGE@)"
fi

if find_zig; then
    exec "$zig" c++ -target $target -mcpu=$cpu -fno-sanitize=undefined "$@"
fi
say "C++ needs a C++ library for musl, which the g++ of this machine does not have; zig brings one:"
say "  pip install --target '$root' ziglang"
exit 127
