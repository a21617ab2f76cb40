# mimalloc: lib/mimalloc.o, one object that gives a program malloc and its relatives.
#
# musl's own allocator is small and slow; the interpreter links this object and so the whole process allocates with it, extension
# modules too. Only malloc, free and their family stay visible: CPython 3.13 has a mimalloc of its own inside.
. /scripts/step.sh

unpack mimalloc
# MI_MALLOC_OVERRIDE defines malloc and friends; initial-exec thread variables are right for an object of the executable and cheap.
# Error messages stay, statistics go. MI_LIBC_MUSL is unknown to 2.0 and harmless.
$CC $CFLAGS -O3 -std=gnu11 -DNDEBUG -DMI_MALLOC_OVERRIDE -DMI_LIBC_MUSL=1 -DMI_STAT=0 -ftls-model=initial-exec \
    -fno-builtin-malloc -Iinclude -c src/static.c -o mimalloc.o
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
objcopy --keep-global-symbols=visible mimalloc.o
mkdir -p /out/lib
install -m 644 mimalloc.o /out/lib/

licence LICENSE
