# CPython 3.10 to 3.15: configure, make and install into /out/opt/python. The release trees are made of this by python.sh.
#
# What comes out: bin/python3.X with every standard module and every dependency inside, NEEDED libc.so alone, entry at our own stub
# (cpython/entry.c), PT_INTERP still there because it has to run in this build, debug information; lib/python3.X without tests and
# byte code; include. And /out/full: what the -full tree has beside, with the paths of that tree.
#
# Kept small by these: one shared path for all versions; what differs is in `case $series` below, and which patches apply is decided by
# looking at the source they are for, so that a patch release that has a fix needs no change here.
. /scripts/step.sh

series=${DOCKLESS_VERSION%.*}
case $DOCKLESS_VERSION in *[a-z]*) series=$(printf '%s' "$DOCKLESS_VERSION" | sed 's/^\([0-9]*\.[0-9]*\).*/\1/') ;; esac

unpack cpython

refuse() { say "$*" >&2; exit 1; }

apply() {
    say "applying $1"
    patch -p1 --no-backup-if-mismatch --fuzz=0 -i "/scripts/patches/cpython/$1.patch" ||
        refuse "patches/cpython/$1.patch does not fit CPython $DOCKLESS_VERSION"
}
apply site-musllinux-tags
apply ssl-certificates
# Later versions ask BIO_eof and need no mending.
if grep -q ASN1_R_HEADER_TOO_LONG Modules/_ssl.c; then apply ssl-end-of-der; fi
if ! grep -q ERR_LIB_SYS Modules/_ssl.c; then apply ssl-system-errors; fi
# What an earlier operation left in OpenSSL's queue must not be taken for this one's error (SSL_get_error(3)): a handshake succeeds
# though the peer is gone before its ticket could be sent, but EPIPE stays. And of this one's errors the first is the reason: that
# the alert about it could not be sent comes after. Otherwise who reads from such a peer gets BrokenPipeError, not the end.
sed -i -E -e '/^ +(ret|retval) = SSL_(do_handshake|read_ex|write_ex|shutdown|sendfile)\(self->ssl/s,^( *),\1ERR_clear_error();\n\1,' \
    -e 's,^( *)e = ERR_peek_last_error\(\);$,&\n\1if (sslsock->err.ssl == SSL_ERROR_SSL \&\& ERR_GET_LIB(e) == ERR_LIB_SYS) e = ERR_peek_error();,' \
    Modules/_ssl.c
[ "$(grep -E -A1 '^ +ERR_clear_error\(\);$' Modules/_ssl.c | grep -c '= SSL_.*(self->ssl')" -ge 4 ] &&
    grep -q 'ERR_LIB_SYS) e = ERR_peek_error();$' Modules/_ssl.c || refuse "_ssl.c of $DOCKLESS_VERSION calls OpenSSL in a new way"
if grep -q 'HAVE_SYS_XATTR_H) && defined(__GLIBC__)' Modules/posixmodule.c; then apply os-extended-attributes; fi

# From 3.14 on _hmac is made of the same objects as _md5 and its kin. Modules inside the interpreter would bring them twice
# (gh-146264), archives of them once. configure has the archives, for WASI.
if grep -q LIBHACL_LDEPS_LIBTYPE configure; then
    grep -q LIBHACL_LDEPS_LIBTYPE=SHARED configure || refuse "configure of $DOCKLESS_VERSION chooses how HACL is linked in a new way"
    sed -i 's,LIBHACL_LDEPS_LIBTYPE=SHARED,LIBHACL_LDEPS_LIBTYPE=STATIC,' configure
fi
# A header whose every function has to be static, by its own words, for the interpreter and _remote_debugging both include it: some
# versions forgot two, which nobody sees where that module is a library.
if [ -f Python/remote_debug.h ]; then sed -i -E '/^(int|void)$/{N;s/^(int|void)\n_Py_RemoteDebug_/static &/;}' Python/remote_debug.h; fi
# 3.14 reads asyncio's tasks of other processes from the file of a shared _asyncio; ours is in the interpreter, as that of 3.15.
if [ -f Modules/_remote_debugging_module.c ]; then
    sed -i '/search_linux_map_for_section/s,"_asyncio\.cpython","python",' Modules/_remote_debugging_module.c
fi
cp /scripts/cpython/main.c Programs/python.c
cp /scripts/cpython/tkappinit.c Modules/tkappinit.c

# Byte code is compiled once, at the end, in its own way: python.sh.
sed -i 's,\$(DESTDIR)\$(LIBDEST)/compileall.py,-c pass,' Makefile.pre.in

if [ "$series" = 3.10 ]; then
    # It knows no musl: it and every musl wheel of its time call the platform ...-linux-gnu in file names of extension modules. So the
    # compiler is not asked there, for its true answer would contradict configure's table.
    sed -i 's,^ *MULTIARCH=\$(\$CC --print-multiarch 2>/dev/null)$,MULTIARCH=,' configure
    # It links the interpreter with its own archive, whose symbols --exclude-libs would hide; later ones take the objects.
    sed -i 's,Programs/python.o \$(BLDLIBRARY),Programs/python.o $(LIBRARY_OBJS),' Makefile.pre.in
    # Its setup.py, which makes the test modules, asks the compiler where a Debian's headers are, and glibc's are not musl's; and puts
    # the interpreter's -fno-pie behind a library's -fPIC, where it wins.
    sed -i -e 's,^\( *\)self\.add_multiarch_paths()$,\1pass,' -e "s,ccshared + ' ' + cflags,cflags + ' ' + ccshared," setup.py
fi

# Test modules are built as the shared libraries that they are for everybody: the interpreter is the same with and without them.
if [ -f Modules/Setup.stdlib.in ]; then sed -i 's,^# Test modules$,&\n*shared*,' Modules/Setup.stdlib.in; fi
# What is linked for the interpreter alone (-no-pie) is nothing for a library.
sed -i 's,^\(BLDSHARED=.*\)\$(PY_CORE_LDFLAGS),\1$(PY_LDFLAGS) -Wl\,-z\,relro -Wl\,-z\,now,' Makefile.pre.in

# The entry stub must not become calls of a C library that is not there yet.
$CC -Os -g0 -std=gnu11 -ffreestanding -fno-builtin -fno-tree-loop-distribute-patterns -fno-stack-protector -fno-pie \
    -fno-asynchronous-unwind-tables -Wall -Wextra -Werror -c /scripts/cpython/entry.c -o /build/entry.o

. /scripts/cpython/memory.sh

# os.sched_setscheduler and its kin, which musl does not let work.
$CC -O2 -g0 -std=gnu11 -fno-pie -D_GNU_SOURCE -Wall -Wextra -Werror -c /scripts/cpython/scheduler.c -o /build/scheduler.o

# Our flags concern the interpreter only and stay away from what sysconfig tells extension builders (the *_NODIST variables).
# -fno-pie: the interpreter is at a fixed address, as Debian's is: two hundredths faster, and much more on x86, which has no
#   relative addressing of data. Extension modules of the user are -fPIC as always.
# -g1: functions and lines, for backtraces and profilers; types and variables would be four times as much and nobody's need but
#   CPython's developers'. It changes no code. python.sh takes it out of the interpreter and keeps it for the -full tree.
# -DNODEV: musl's headers have no name for "no device", which os.makedev and its kin ask for.
CFLAGS="-g0" CFLAGS_NODIST="-fno-pie -g1 -DNODEV=-1" OPT="-DNDEBUG -fwrapv -O2 -Wall"
CPPFLAGS="-I$PREFIX/include -I$PREFIX/include/ncursesw" LDFLAGS="-L$PREFIX/lib"
# -export-dynamic with --exclude-libs: the C API is seen by extension modules, the libraries inside are not, so that a wheel with
#   its own OpenSSL uses its own. stack-size: musl gives threads what PT_GNU_STACK says, 128 KiB otherwise. mimalloc.o: an object,
#   not an archive, for --exclude-libs would hide it and nobody would use it.
LINKFORSHARED="-Wl,-export-dynamic -Wl,--exclude-libs,ALL -Wl,--gc-sections -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack"
LINKFORSHARED="$LINKFORSHARED -Wl,-z,stack-size=8388608 -Wl,-e,dockless_entry /build/entry.o /build/scheduler.o $memory_objects $PREFIX/lib/mimalloc.o"
# Who takes which part of the interpreter, for cpython/linkmap.py.
mkdir /build/maps
LINKFORSHARED="$LINKFORSHARED -Wl,-Map=/build/maps"
# Nothing is compiled with CXX, but sysconfig tells it to extension builders: never the host's.
CXX=$TRIPLE-g++
export CXX CFLAGS CFLAGS_NODIST OPT CPPFLAGS LDFLAGS LINKFORSHARED

# configure asks pkg-config unless both are set, and leaves tkinter out without a word when they do not link. tcltk.o: see tk.sh.
TCLTK_CFLAGS="-I$PREFIX/include" TCLTK_LIBS="$PREFIX/lib/tcltk.o -lX11 -lxcb -lXau -lz"
export TCLTK_CFLAGS TCLTK_LIBS

# Options that came and went. --with-tail-call-interp (3.14) is not among them: it asks for a compiler that knows preserve_none.
options=
if [ -n "${DOCKLESS_FREE_THREADED:-}" ]; then
    grep -q -e '^  --disable-gil' configure || refuse "CPython $DOCKLESS_VERSION has no free-threaded build"
    options=--disable-gil
fi
# Test modules are libraries, and libraries with counters would have to bring what writes them.
if [ "$DOCKLESS_PROFILE" = train ] && grep -q -e --disable-test-modules configure; then options="$options --disable-test-modules"; fi
for option in --with-system-ffi --without-static-libpython; do
    case $option in
    --without-*) name=--with-${option#--without-} ;;
    --disable-*) name=--enable-${option#--disable-} ;;
    *) name=$option ;;
    esac
    if grep -q -e "^  $option" -e "^  $name" configure; then options="$options $option"; fi
done

# ac_cv_search_dbm_open: configure tries libgdbm_compat alone, which as an archive lacks libgdbm.
# MODULE_BUILDTYPE: modules go into the interpreter (from 3.11 on; before, Setup.local alone says so).
MODULE_BUILDTYPE=static ./configure --build=$TRIPLE --prefix=/opt/python --with-openssl=$PREFIX --with-system-expat \
    --enable-loadable-sqlite-extensions --with-dbmliborder=gdbm:ndbm --without-ensurepip --with-computed-gotos \
    --enable-option-checking=fatal ac_cv_search_dbm_open="-lgdbm_compat -lgdbm" $options

# In a Setup line nothing may contain "=": it would be taken for a make variable.
case $series in
3.10)
    case $DOCKLESS_ARCH in
    x86) decimal="-DCONFIG_32 -DPPRO -DASM" ;;
    *) decimal="-DCONFIG_64 -DASM" ;;
    esac
    sed "s/@DECIMAL@/$decimal/" /scripts/cpython/Setup-3.10 > Modules/Setup.local ;;
3.11)
    # Setup.stdlib is not read by this version unless it is made the local one, and leaves out what setup.py knew better.
    sed '/^# Test modules/,$d' Modules/Setup.stdlib > Modules/Setup.local
    cat /scripts/cpython/Setup-3.11 >> Modules/Setup.local
    if [ "$DOCKLESS_PROFILE" != train ]; then sed -n '/^# Test modules/,$p' Modules/Setup.stdlib >> Modules/Setup.local; fi ;;
esac

# -no-pie for every program that is linked, by the command line, which sysconfig does not see.
. /scripts/cpython/profile.sh

if [ "$DOCKLESS_PROFILE" != train ]; then
    . /scripts/cpython/full.sh
    cp -a /build/stage/opt /out/
    mkdir -p /out/share/sizes
    ./python -E -S -B /scripts/cpython/linkmap.py /build/maps/python.map > /out/share/sizes/interpreter.json
    licence LICENSE Doc/license.rst
fi
