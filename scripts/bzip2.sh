# bzip2: lib/libbz2.a, include/bzlib.h. Its makefile knows no DESTDIR and its install wants the programs, so two files by hand.
. /scripts/step.sh

unpack bzip2
make libbz2.a CC=$CC AR=$AR RANLIB=$RANLIB CFLAGS="$CFLAGS -D_FILE_OFFSET_BITS=64"
mkdir -p /out/lib /out/include
install -m 644 libbz2.a /out/lib/
install -m 644 bzlib.h /out/include/

licence LICENSE
