# xtrans: how X clients reach a server, as source that libX11 includes: include/X11/Xtrans, lib/pkgconfig/xtrans.pc.
. /scripts/step.sh

unpack xtrans
./configure $HOST_OPTIONS --disable-docs
make install DESTDIR=/build/stage
# It holds no code and is in share; our pkg-config knows one directory.
mkdir -p /build/stage$PREFIX/lib
mv /build/stage$PREFIX/share/pkgconfig /build/stage$PREFIX/lib/

publish /build/stage
licence COPYING
