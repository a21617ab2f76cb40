# expat: lib/libexpat.a, include/expat.h. The tag archive keeps the project one directory deeper and has no configure yet.
. /scripts/step.sh

unpack expat
[ ! -d expat ] || cd expat
[ -x configure ] || ./buildconf.sh
./configure $HOST_OPTIONS --disable-shared --without-xmlwf --without-examples --without-tests --without-docbook \
    --disable-dependency-tracking
make
make install DESTDIR=/build/stage

publish /build/stage
licence COPYING
