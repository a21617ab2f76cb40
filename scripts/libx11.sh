# libX11: what Tk speaks to an X server through: lib/libX11.a, include/X11.
#
# --datadir: tables of input methods, compose keys and error texts are the system's, where libX11 of every distribution has them.
#   Without them there are no dead keys and no input methods, and all else works. DESTDIR's copy of them is left behind.
# --disable-loadable-*: nothing is loaded at run time, least of all a library of the host's.
. /scripts/step.sh

unpack libx11
./configure $HOST_OPTIONS --datadir=/usr/share --with-locale-lib-dir=/usr/lib/X11/locale --disable-shared --disable-specs \
    --without-xmlto --without-fop --without-xsltproc --disable-loadable-i18n --disable-loadable-xcursor \
    --with-keysymdefdir=$PREFIX/include/X11
make
make install DESTDIR=/build/stage

publish /build/stage
licence COPYING
