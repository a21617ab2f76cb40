# The release trees: /out/opt/python out of what cpython.sh installed, musl's libc.so and the licences of everything inside.
#
# Two recipes run this: python, whose tree is what people want, and python-full, which keeps tests, test
# modules, static pieces and debug information beside. The interpreter is the same to the bit in both.
#
# Shell does what is about files, finish.py (run by the new interpreter) what is about their content. When this ends well, the tree has
# run once already: pip is installed by it, through the entry stub, with the tree's own libc.so.
. /scripts/step.sh

tree=/out/opt/python
mkdir -p /out/opt
cp -a /deps/opt/python $tree
cd $tree

# python3.11, or python3.13t beside a second name without the t: a hard link, which would become a copy.
interpreter=$(basename lib/python3.*)
if [ ! -x "bin/$interpreter" ]; then say "no bin/$interpreter for lib/$interpreter" >&2; exit 1; fi
if [ "${interpreter%t}" != "$interpreter" ]; then ln -sf "$interpreter" "bin/${interpreter%t}"; fi
interpreter=bin/$interpreter

# The stub has to be the entry: without PT_INTERP a program that starts at _start dies at once. Only symbols tell, so before strip.
entry=$(readelf -h "$interpreter" | sed -n 's/.*Entry point address: *0x//p')
nm "$interpreter" | grep -q "^0*$entry [tT] dockless_entry$" || { say "$interpreter does not start at dockless_entry" >&2; exit 1; }

# Only what runs. The tests and the static library were not installed; what is left of the build is a Makefile that sysconfig reads.
rm -rf share/man
static=$(echo lib/python3.*/config-3.*)
for file in "$static"/*; do
    case ${file##*/} in Makefile | python-config.py) ;; *) rm -rf "$file" ;; esac
done
# The compilers that sysconfig names (finish.py): they find the toolchain package, or say that it is missing.
case $DOCKLESS_ARCH in x86) cpu='i?86' ;; *) cpu=$DOCKLESS_ARCH ;; esac
for tool in gcc g++ ar; do
    sed -e "s/@TRIPLE@/$TRIPLE/g" -e "s/@CPU@/$cpu/g" -e "s/@ARCH@/$DOCKLESS_ARCH/g" /scripts/python/compiler.sh > "$TRIPLE-$tool"
    chmod 755 "$TRIPLE-$tool"
    mv "$TRIPLE-$tool" lib/python3.*/config-3.*/
done
if [ "$DOCKLESS_PACKAGE" = python-full ]; then
    cp -a /deps/full/. .
    # musl's own archives are the toolchain's; Tcl's is in tcltk.o.
    for file in /deps/lib/*.a /deps/lib/mimalloc.o /deps/lib/tcltk.o; do
        case ${file##*/} in libc.a | libm.a | libpthread.a | libcrypt.a | libdl.a | librt.a | libresolv.a | libutil.a | libxnet.a | libtcl*) ;;
        *) cp "$file" "$static/" ;;
        esac
    done
fi
find lib -name __pycache__ -prune -exec rm -rf {} +

# What Tcl and Tk read at run time; found from sys.base_prefix (cpython/tkappinit.c).
cp -r /deps/lib/tcl8 /deps/lib/tcl8.* /deps/lib/tk8.* lib/

mkdir -p shared_libraries/lib
# Nothing here needs libz.so.1, but wheels do; the loader looks for it beside itself.
cp /deps/lib/libc.so /deps/lib/libz.so.1 shared_libraries/lib/
# gdb and perf find the debug information in .debug beside a program by the name that is in the program.
mkdir bin/.debug
debug=bin/.debug/${interpreter#bin/}.debug
objcopy --only-keep-debug "$interpreter" "$debug"
strip --strip-all shared_libraries/lib/libc.so shared_libraries/lib/libz.so.1 "$interpreter"
objcopy --add-gnu-debuglink="$debug" "$interpreter"
if [ "$DOCKLESS_PACKAGE" != python-full ]; then rm -r bin/.debug; fi
ln -sf python3 bin/python

mkdir -p share
cp -r /deps/share/licenses share/licenses

# A hash seed, or sets in byte code come out in another order.
PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
export PYTHONHASHSEED PYTHONDONTWRITEBYTECODE
"/deps/opt/python/$interpreter" /scripts/python/finish.py loader "$tree/$interpreter"
"$tree/$interpreter" -m ensurepip --default-pip

# Certificates for a system that has none: the bundle that comes with pip. ssl looks for it last.
mkdir -p share/ca-certificates
cp lib/python3.*/site-packages/pip/_vendor/certifi/cacert.pem share/ca-certificates/cacert.pem

"$tree/$interpreter" /scripts/python/finish.py tree "$tree" /deps/share

# Who links an interpreter of their own does it as here (PYTHON.json, static.link); the proof is that it comes out and works.
if [ "$DOCKLESS_PACKAGE" = python-full ]; then
    (cd "$static" && "$tree/$interpreter" /scripts/python/finish.py link "$tree" | xargs $CC -o /build/own)
    PYTHONHOME=$tree /build/own -c 'import ssl, sqlite3, ctypes, readline, _decimal; print("an interpreter of the static pieces works")'
fi

# Whatever the umask of this step and the modes in tarballs: files are readable, programs run, nobody writes.
find . -type d -exec chmod 755 {} +
find . -type f -perm /111 -exec chmod 755 {} +
find . -type f ! -perm /111 -exec chmod 644 {} +
