# xorgproto: headers and constants of the X11 protocol: include/X11, include/GL, lib/pkgconfig/*proto.pc. No code.
. /scripts/step.sh
. /scripts/deb.sh

if is_deb xorgproto; then
    unpack_deb xorgproto
    mkdir -p /build/stage$PREFIX
    cp -r usr/include /build/stage$PREFIX/include
    cp -r usr/share /build/stage$PREFIX/share
    sed -i "s,^prefix=.*,prefix=$PREFIX," /build/stage$PREFIX/share/pkgconfig/*.pc
    copyright=$(echo "$PWD"/usr/share/doc/x11proto-dev/copyright)
else
    unpack xorgproto
    ./configure $HOST_OPTIONS
    make install DESTDIR=/build/stage
    copyright=$(echo "$PWD"/COPYING-*)
fi
# They hold no code and are in share; our pkg-config knows one directory.
mkdir -p /build/stage$PREFIX/lib
mv /build/stage$PREFIX/share/pkgconfig /build/stage$PREFIX/lib/

publish /build/stage
licence $copyright
