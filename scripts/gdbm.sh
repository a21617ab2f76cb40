# gdbm: lib/libgdbm.a and lib/libgdbm_compat.a (dbm.gnu and dbm.ndbm), include/gdbm.h ndbm.h. No programs, no messages.
. /scripts/step.sh

unpack gdbm
./configure $HOST_OPTIONS --disable-shared --enable-libgdbm-compat --disable-nls --without-readline --disable-dependency-tracking
for directory in src compat; do
    make -C $directory
    make -C $directory install DESTDIR=/build/stage
done
rm -rf /build/stage$PREFIX/bin

publish /build/stage
licence COPYING
