# xz: lib/liblzma.a, include/lzma.h; the library only.
. /scripts/step.sh

unpack xz
[ -x configure ] || autoreconf -fi
./configure $HOST_OPTIONS --disable-shared --disable-nls --disable-xz --disable-xzdec --disable-lzmadec --disable-lzmainfo \
    --disable-scripts --disable-doc --disable-dependency-tracking
make
make install DESTDIR=/build/stage

publish /build/stage
licence COPYING COPYING.0BSD
