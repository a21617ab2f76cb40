# xcb-proto: the X11 protocol as XML, and xcbgen, the Python package that reads it: share/xcb, share/xcbgen, lib/pkgconfig/xcb-proto.pc.
#
# Read while libxcb is built, by the root's Python; nothing of it runs later.
. /scripts/step.sh
. /scripts/deb.sh

mkdir -p /out/share/xcb /out/share/xcbgen /out/lib/pkgconfig
if is_deb xcb-proto; then
    unpack_deb xcb-proto
    cp usr/share/xcb/*.xml /out/share/xcb/
    cp usr/share/doc/xcb-proto/copyright /build/COPYING
    version=$(sed -n 's/^Version: *//p' usr/share/pkgconfig/xcb-proto.pc)
else
    # Its configure only looks for a Python to install for.
    unpack xcb-proto
    cp src/*.xml /out/share/xcb/
    cp COPYING /build/COPYING
    version=$DOCKLESS_VERSION
fi
unpack_deb xcbgen
cp -r usr/lib/python3/dist-packages/xcbgen /out/share/xcbgen/

cat > /out/lib/pkgconfig/xcb-proto.pc <<EOF
xcbincludedir=$PREFIX/share/xcb
pythondir=$PREFIX/share/xcbgen

Name: XCB Proto
Description: X protocol descriptions for XCB
Version: $version
EOF
licence /build/COPYING
