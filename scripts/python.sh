# The release tree: /out/opt/python out of what cpython.sh installed, musl's libc.so and the licences of everything inside.
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
rm -rf lib/python3.*/test lib/python3.*/*/test lib/python3.*/*/tests lib/python3.*/idlelib/idle_test lib/libpython*.a share/man
for directory in lib/python3.*/config-3.*; do
    for file in "$directory"/*; do
        case ${file##*/} in Makefile | python-config.py) ;; *) rm -rf "$file" ;; esac
    done
done
find lib -name __pycache__ -prune -exec rm -rf {} +

# What Tcl and Tk read at run time; found from sys.base_prefix (cpython/tkappinit.c).
cp -r /deps/lib/tcl8 /deps/lib/tcl8.* /deps/lib/tk8.* lib/

mkdir -p shared_libraries/lib
cp /deps/lib/libc.so shared_libraries/lib/libc.so
strip --strip-all shared_libraries/lib/libc.so "$interpreter"
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

# Whatever the umask of this step and the modes in tarballs: files are readable, programs run, nobody writes.
find . -type d -exec chmod 755 {} +
find . -type f -perm /111 -exec chmod 755 {} +
find . -type f ! -perm /111 -exec chmod 644 {} +
