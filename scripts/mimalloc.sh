# mimalloc: lib/mimalloc.o, one object that gives a program malloc and its relatives.
#
# musl's own allocator is small and slow; the interpreter links this object and so the whole process allocates with it, extension
# modules too. Only malloc, free and their family stay visible: CPython 3.13 has a mimalloc of its own inside.
. /scripts/step.sh

unpack mimalloc
# MI_MALLOC_OVERRIDE defines malloc and friends; initial-exec thread variables are right for an object of the executable and cheap.
# Error messages stay, statistics go. __USE_ISOC11 says, in glibc's words, that there is an aligned_alloc to replace.
# -fno-pic: the interpreter is at a fixed address; and position-independent code of x86 has helper functions that all objects share,
# which objcopy would take away from the others.
$CC $CFLAGS -O3 -std=gnu11 -DNDEBUG -DMI_MALLOC_OVERRIDE -DMI_STAT=0 -D__USE_ISOC11=1 -ftls-model=initial-exec \
    -fno-pic -fno-pie -fno-builtin-malloc -Iinclude -c src/static.c -o mimalloc.o
cat > visible <<EOF
malloc
calloc
realloc
free
reallocarray
malloc_usable_size
posix_memalign
aligned_alloc
memalign
valloc
EOF
# One that is missing would take memory from musl's allocator and give it back to this one.
while read -r function; do
    nm mimalloc.o | grep -q " T $function$" || { say "$function is not defined" >&2; exit 1; }
done < visible
objcopy --keep-global-symbols=visible mimalloc.o
mkdir -p /out/lib
install -m 644 mimalloc.o /out/lib/

licence LICENSE
