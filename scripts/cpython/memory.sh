# Functions that musl has only byte by byte, as objects that prove themselves before they are linked; sourced by cpython.sh.
# Gives memory_objects.

memory_flags="-O2 -g0 -std=gnu11 -fno-builtin -fno-tree-loop-distribute-patterns -fno-pie -Wall -Wextra -Werror"
if [ "$DOCKLESS_ARCH" = x86 ]; then
    # The stack of a caller may be aligned as the old ABI has it, to four bytes: vectors want sixteen.
    $CC $memory_flags -msse2 -mstackrealign -c /scripts/cpython/memory.c -o /build/memory.o
    $CC $memory_flags -c /scripts/cpython/memory-x86.c -o /build/memory-x86.o
    memory_objects="/build/memory.o /build/memory-x86.o"
else
    $CC $memory_flags -c /scripts/cpython/memory.c -o /build/memory.o
    memory_objects=/build/memory.o
fi
$CC -O1 -g0 -std=gnu11 -fno-builtin -no-pie -Wall -Wextra -Werror /scripts/cpython/memory-test.c $memory_objects -o /build/memory-test
/build/memory-test
