# zstd: lib/libzstd.a, include/zstd.h zdict.h zstd_errors.h, for compression.zstd of Python 3.14 and later.
. /scripts/step.sh

unpack zstd
make -C lib libzstd.a CC=$CC AR=$AR CFLAGS="$CFLAGS" CPPFLAGS='' ZSTD_LEGACY_SUPPORT=0
make -C lib install-pc install-static install-includes DESTDIR=/build/stage PREFIX=$PREFIX LIBDIR=$PREFIX/lib ZSTD_LEGACY_SUPPORT=0

publish /build/stage
licence LICENSE
