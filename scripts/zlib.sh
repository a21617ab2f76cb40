# zlib: lib/libz.a, include/zlib.h. Its configure is hand-written and knows no --host.
. /scripts/step.sh

unpack zlib
./configure --prefix=$PREFIX --static
make libz.a
make install DESTDIR=/build/stage

publish /build/stage
licence LICENSE
