# Tcl: lib/libtcl8.6.a, include/tcl.h and Tcl's own headers (Tk needs them), the script library lib/tcl8.6 and lib/tcl8.
#
# --prefix is where the tree is usually: these paths are compiled in. Where it really is, the interpreter tells
#   (cpython/tkappinit.c). No place is searched for packages beside the tree: a host's would be for another libc.
# Left out of the library: time zones, which Tcl reads from /usr/share/zoneinfo as Python does, and the packages that test Tcl.
. /scripts/step.sh

unpack tcl
cd unix
./configure --build=$TRIPLE --host=$TRIPLE --prefix=/opt/python --disable-shared --enable-threads --disable-rpath
make libtcl8.6.a TCL_PACKAGE_PATH=
make install-binaries install-libraries install-headers install-private-headers \
    TCL_PACKAGE_PATH= INSTALL_ROOT=/build/stage

# install-msgs wants a tclsh for what is a copy.
cp -r ../library/msgs /build/stage/opt/python/lib/tcl8.6/msgs

cd /build/stage/opt/python
rm -rf lib/tcl8.6/tzdata lib/tcl8.6/tclAppInit.c lib/tcl8/*/tcltest-*.tm lib/pkgconfig
mkdir -p /out/include
cp -a include/. /out/include/
cp -a lib /out/lib
licence /build/tcl/license.terms
