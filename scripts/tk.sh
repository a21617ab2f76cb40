# Tk: its script library lib/tk8.6, include/tk.h, and lib/tcltk.o: Tk and Tcl in one object.
#
# An object, because the interpreter's linker hides everything that comes out of an archive, and these names must be seen: Pillow
#   and matplotlib draw into Tk's images with functions that they look for in the running program.
# Without Xft, so with the fonts of the X server: no freetype, no fontconfig and none of their files. For --prefix see tcl.sh.
. /scripts/step.sh

unpack tk
cd unix
./configure --build=$TRIPLE --host=$TRIPLE --prefix=/opt/python --with-tcl=$PREFIX/lib --disable-shared --enable-threads \
    --disable-rpath --disable-xft --disable-xss --x-includes=$PREFIX/include --x-libraries=$PREFIX/lib LIBS="-lxcb -lXau"
make libtk8.6.a
make install-libraries install-headers INSTALL_ROOT=/build/stage

cd /build/stage/opt/python
rm -rf lib/tk8.6/demos lib/tk8.6/images lib/tk8.6/tkAppInit.c lib/pkgconfig
# `package require Tk` in an interpreter that began without: it is in the program.
version=$(sed -n "s/^TK_VERSION='\(.*\)'/\1/p; s/^TK_PATCH_LEVEL='\(.*\)'/\1/p" /build/tk/unix/tkConfig.sh | tr -d '\n')
echo "package ifneeded Tk $version {load {} Tk}" > lib/tk8.6/pkgIndex.tcl

mkdir -p /out/include
cp -a include/. /out/include/
cp -a lib /out/lib

# One object, in which the public names (and what _tkinter needs beside them) are names, and all others are not. Groups are
# dissolved: the linker would drop a group that it has from elsewhere (x86: __x86.get_pc_thunk.bx), whose name here is only ours.
cd /build
ld -r --force-group-allocation --whole-archive /build/tk/unix/libtk8.6.a $PREFIX/lib/libtcl8.6.a -o tcltk.o
objcopy --wildcard --keep-global-symbol='Tcl_*' --keep-global-symbol='TclBN_*' --keep-global-symbol='Tk_*' \
    --keep-global-symbol=TclFreeObj --keep-global-symbol=TclSetPreInitScript tcltk.o /out/lib/tcltk.o
licence /build/tk/license.terms
