# readline: lib/libreadline.a, libhistory.a, include/readline. It must take the terminal functions from our ncurses, not guess.
. /scripts/step.sh

unpack readline
./configure $HOST_OPTIONS --disable-shared --with-curses --disable-install-examples bash_cv_termcap_lib=libncursesw
make static
make install-static DESTDIR=/build/stage
rm -rf /build/stage$PREFIX/bin

# There is only the archive, so whoever links it needs what it needs; and our ncurses is the one with wide characters.
sed -i -e '/^Requires.private:/d' -e 's/-lreadline$/-lreadline -lncursesw/' /build/stage$PREFIX/lib/pkgconfig/readline.pc

publish /build/stage
licence COPYING
