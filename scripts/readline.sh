# readline: lib/libreadline.a, libhistory.a, include/readline. It must take the terminal functions from our ncurses, not guess.
. /scripts/step.sh

unpack readline
./configure $HOST_OPTIONS --disable-shared --with-curses --disable-install-examples bash_cv_termcap_lib=libncursesw
make static
make install-static DESTDIR=/build/stage
rm -rf /build/stage$PREFIX/bin

publish /build/stage
licence COPYING
