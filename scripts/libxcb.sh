# libxcb: the wire of X11: lib/libxcb.a, include/xcb.
#
# The core protocol only: libX11 asks for nothing else, and each extension is a library of its own. Without libXdmcp, so without
# XDM-AUTHORIZATION-1, which is DES and which no server of today asks for.
. /scripts/step.sh

unpack libxcb
extensions=
for extension in composite damage dbe dpms dri2 dri3 glx present randr record render resource screensaver shape shm sync \
    xevie xfixes xfree86-dri xinerama xinput xkb xprint selinux xtest xv xvmc; do
    extensions="$extensions --disable-$extension"
done
PYTHON=/usr/bin/python3 PYTHONDONTWRITEBYTECODE=1
export PYTHON PYTHONDONTWRITEBYTECODE
./configure $HOST_OPTIONS --disable-shared --disable-devel-docs --without-doxygen $extensions
make
make install DESTDIR=/build/stage

publish /build/stage
licence COPYING
