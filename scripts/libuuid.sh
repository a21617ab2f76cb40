# libuuid: lib/libuuid.a, include/uuid/uuid.h, out of util-linux (or out of the stand-alone tarball of that name).
. /scripts/step.sh

unpack libuuid
[ -x configure ] || ./autogen.sh
if [ -d libuuid ]; then
    # --disable-year2038: the check, not the time: musl has 64-bit time_t everywhere and no switch for it.
    # --localstatedir: the clock of time-based UUIDs is the host's, /var/lib/libuuid.
    ./configure $HOST_OPTIONS --localstatedir=/var --disable-all-programs --enable-libuuid --disable-shared --disable-nls \
        --disable-bash-completion --disable-asciidoc --disable-year2038 --without-python --without-ncurses --disable-dependency-tracking
    set -- libuuid/COPYING Documentation/licenses/COPYING.BSD-3-Clause
else
    ./configure $HOST_OPTIONS --disable-shared --disable-dependency-tracking
    set -- COPYING
fi
make
make install DESTDIR=/build/stage
rm -rf /build/stage$PREFIX/bin /build/stage$PREFIX/sbin

publish /build/stage
licence "$@"
