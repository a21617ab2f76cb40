# ncurses, wide characters: lib/lib{ncurses,panel,form,menu}w.a, include/ncursesw and the plain names beside it.
#
# No terminal database is shipped: the host's is looked up where distributions keep it, and the terminals people really have are
# compiled in, so that curses works in an empty root too. tic and infocmp of the root (the same terminfo format) make those.
. /scripts/step.sh

unpack ncurses
# --without-progs: tic would need a second build for the build machine. cf_cv_ar_flags: of its own accord ncurses asks ar for the time
# of every member (U).
./configure $HOST_OPTIONS cf_cv_ar_flags=-crv \
    --without-shared --with-normal --without-debug --without-ada --without-cxx --without-cxx-binding \
    --without-manpages --without-progs --without-tests --enable-widec --disable-stripping --disable-db-install \
    --enable-pc-files --with-pkg-config-libdir=$PREFIX/lib/pkgconfig \
    --with-default-terminfo-dir=/usr/share/terminfo \
    --with-terminfo-dirs=/etc/terminfo:/lib/terminfo:/usr/share/terminfo:/usr/lib/terminfo:/usr/local/share/terminfo \
    --with-fallbacks=linux,vt100,vt220,xterm,xterm-256color,screen,screen-256color,tmux,tmux-256color,rxvt,rxvt-unicode-256color,ansi,dumb \
    --with-tic-path=/usr/bin/tic --with-infocmp-path=/usr/bin/infocmp --with-build-cc=gcc
make libs
make install.libs install.includes DESTDIR=/build/stage
rm -rf /build/stage$PREFIX/bin

# Names that configure scripts of others still ask for.
include=/build/stage$PREFIX/include
for header in "$include"/ncursesw/*.h; do
    ln -s "ncursesw/${header##*/}" "$include/${header##*/}"
done
for library in ncurses panel form menu; do
    ln -sf lib${library}w.a /build/stage$PREFIX/lib/lib$library.a
done
ln -sf libncursesw.a /build/stage$PREFIX/lib/libtinfow.a

publish /build/stage
licence COPYING
