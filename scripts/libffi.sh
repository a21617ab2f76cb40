# libffi: lib/libffi.a, include/ffi.h. Release tarballs only: a tag archive lacks configure, and making it takes libltdl's macros.
. /scripts/step.sh

unpack libffi
# Without --disable-multi-os-directory the archive may land in lib64.
./configure $HOST_OPTIONS --disable-shared --disable-docs --disable-multi-os-directory --disable-dependency-tracking
make
make install DESTDIR=/build/stage

publish /build/stage
licence LICENSE
