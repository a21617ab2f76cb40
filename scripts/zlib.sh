# zlib: lib/libz.a, include/zlib.h. Its configure is hand-written and knows no --host.
#
# And lib/libz.so.1 for the tree: wheels for musl may need it beside libc.so (patches/musl/03). There is no libz.so, so nothing that
# we link takes it for -lz.
. /scripts/step.sh

unpack zlib
./configure --prefix=$PREFIX --static
make libz.a
make install DESTDIR=/build/stage

# shellcheck disable=SC2086 # LDFLAGS are words
$CC $LDFLAGS -shared -Wl,-soname,libz.so.1 -Wl,--version-script,zlib.map -Wl,-z,relro -Wl,-z,now -o /build/libz.so.1 \
    -Wl,--whole-archive libz.a -Wl,--no-whole-archive

publish /build/stage
cp /build/libz.so.1 /out/lib/libz.so.1
licence LICENSE
