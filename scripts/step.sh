# The prelude of every step script: `. /scripts/step.sh`.
#
# Gives: CC AR RANLIB NM STRIP CFLAGS CPPFLAGS LDFLAGS for target code, HOST_OPTIONS for configure, and the functions
#   unpack NAME          unpacks the one tarball of source NAME into ./NAME and goes there
#   patches DIRECTORY    applies the patch files of /scripts/patches/DIRECTORY, in order
#   publish STAGE        moves what `make install DESTDIR=STAGE` installed under the prefix /deps to /out
#   licence FILE...      keeps licence texts and the version of this package for the release
#   say TEXT             a line in the log
#
# Packages are configured with --prefix=/deps, because later steps see all outputs merged there.

PREFIX=/deps
TRIPLE=$DOCKLESS_TRIPLE

# When a step ends well, its files have one time, so that the same files are the same output.
trap 'if [ $? -eq 0 ]; then find /out -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +; fi' EXIT

say() { printf '%s: %s\n' "$DOCKLESS_PACKAGE" "$*"; }

# The engine shares one jobserver among all steps; by hand, every core is ours.
if [ -z "${MAKEFLAGS:-}" ]; then
    MAKEFLAGS=-j$(nproc)
    export MAKEFLAGS
fi

# -fPIC: archives end in an executable and perhaps in a library. Sections: the linker drops what nobody calls.
# -g0: debug information would name this directory. The compiler wrapper maps paths away for __FILE__.
CFLAGS="-O2 -g0 -fPIC -ffunction-sections -fdata-sections"
CPPFLAGS="-I$PREFIX/include"
LDFLAGS="-L$PREFIX/lib"
CC=$TRIPLE-gcc AR=gcc-ar RANLIB=gcc-ranlib NM=gcc-nm STRIP=strip
PKG_CONFIG_PATH='' PKG_CONFIG_LIBDIR=$PREFIX/lib/pkgconfig
export CC AR RANLIB NM STRIP CFLAGS CPPFLAGS LDFLAGS PKG_CONFIG_PATH PKG_CONFIG_LIBDIR

# Build and host are the same triple: what we build runs here, so configure may test by running.
HOST_OPTIONS="--build=$TRIPLE --host=$TRIPLE --prefix=$PREFIX --libdir=$PREFIX/lib"

unpack() {
    set -- "$1" /sources/"$1"/*
    if [ $# -ne 2 ] || [ ! -f "$2" ]; then
        say "source $1 should be one file, found: $*" >&2
        exit 1
    fi
    mkdir "/build/$1"
    tar -x -f "$2" -C "/build/$1" --strip-components=1 --no-same-owner
    cd "/build/$1"
}

patches() {
    for patch_file in /scripts/patches/"$1"/*.patch; do
        say "applying $1/${patch_file##*/}"
        patch -p1 --no-backup-if-mismatch --fuzz=0 -i "$patch_file"
    done
}

# Libtool's .la files name directories that no longer exist when somebody reads them; man pages and the like are for people.
publish() {
    rm -rf "$1$PREFIX"/share/man "$1$PREFIX"/share/info "$1$PREFIX"/share/doc "$1$PREFIX"/share/locale
    find "$1$PREFIX" -name '*.la' -exec rm -f {} +
    cp -a "$1$PREFIX"/. /out/
}

licence() {
    licence_directory=/out/share/licenses/$DOCKLESS_PACKAGE
    mkdir -p "$licence_directory"
    cp "$@" "$licence_directory/"
    chmod 644 "$licence_directory"/*
    mkdir -p /out/share/versions
    printf '%s\n' "$DOCKLESS_VERSION" > "/out/share/versions/$DOCKLESS_PACKAGE"
}
