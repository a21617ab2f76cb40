# SQLite: lib/libsqlite3.a, include/sqlite3.h sqlite3ext.h, compiled from the amalgamation as its authors advise.
# Full sources make the amalgamation first (tclsh of the root); upstream's autoconf tarball brings it.
. /scripts/step.sh

unpack sqlite
if [ ! -f sqlite3.c ]; then
    # Only helpers of the build machine are compiled here, so its own compiler does.
    CC=gcc CFLAGS=-O1 CPPFLAGS='' LDFLAGS='' ./configure --disable-shared --disable-tcl --disable-readline
    make sqlite3.c sqlite3.h TCLSH_CMD=tclsh8.6
    sqlite_extension_header=src/sqlite3ext.h
else
    sqlite_extension_header=sqlite3ext.h
fi

# What Debian enables too, so that a database from there opens here; JSON and deserialize are on by default in all versions we take.
# musl has no separate libdl: extension loading stays on.
$CC $CFLAGS -I. -c sqlite3.c -o sqlite3.o \
    -DSQLITE_THREADSAFE=1 -DSQLITE_ENABLE_FTS3 -DSQLITE_ENABLE_FTS3_PARENTHESIS -DSQLITE_ENABLE_FTS3_TOKENIZER \
    -DSQLITE_ENABLE_FTS4 -DSQLITE_ENABLE_FTS5 -DSQLITE_ENABLE_RTREE -DSQLITE_ENABLE_GEOPOLY -DSQLITE_ENABLE_COLUMN_METADATA \
    -DSQLITE_ENABLE_DBSTAT_VTAB -DSQLITE_ENABLE_MATH_FUNCTIONS -DSQLITE_ENABLE_STMTVTAB -DSQLITE_ENABLE_SESSION \
    -DSQLITE_ENABLE_PREUPDATE_HOOK -DSQLITE_ENABLE_UNLOCK_NOTIFY -DSQLITE_SECURE_DELETE -DSQLITE_USE_URI \
    -DSQLITE_MAX_VARIABLE_NUMBER=250000 -DSQLITE_ENABLE_LOAD_EXTENSION=1 -DHAVE_USLEEP=1 -DHAVE_FDATASYNC=1

mkdir -p /out/lib/pkgconfig /out/include
$AR rcs /out/lib/libsqlite3.a sqlite3.o
install -m 644 sqlite3.h "$sqlite_extension_header" /out/include/
cat > /out/lib/pkgconfig/sqlite3.pc <<EOF
prefix=$PREFIX
libdir=\${prefix}/lib
includedir=\${prefix}/include
Name: SQLite
Description: SQL database engine
Version: $DOCKLESS_VERSION
Libs: -L\${libdir} -lsqlite3
Cflags: -I\${includedir}
EOF

# Public domain; the blessing at the head of its sources is all there is.
if [ -f LICENSE.md ]; then
    licence LICENSE.md
else
    sed -n '/^\*\* 2001/,/^\*\*\*/p' sqlite3.h > LICENSE.md
    licence LICENSE.md
fi
