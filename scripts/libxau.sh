# libXau: what X clients show to be let in (~/.Xauthority): lib/libXau.a, include/X11/Xauth.h.
. /scripts/step.sh

unpack libxau
./configure $HOST_OPTIONS --disable-shared
make
make install DESTDIR=/build/stage

publish /build/stage
licence COPYING
