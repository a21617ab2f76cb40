# Moves what only the -full tree has from /build/stage to /out/full; sourced by cpython.sh in the built source tree.
#
# Test modules, tests, and what somebody needs to link an interpreter of their own. CPython's `make install` forgets some of its tests
# (3.11.2: test_capi, test_sqlite3), so they are taken from the source.

full=/out/full
installed=/build/stage/opt/python
library=$(cd $installed && echo lib/python3.*)
mkdir -p "$full/$library/lib-dynload"

# Every module that `--disable-test-modules` would have left out. Anything else that was built as a library is none of ours.
for module in "$installed/$library"/lib-dynload/*.so; do
    if [ ! -e "$module" ]; then say "none of the test modules was built: the log says why" >&2; exit 1; fi
    case ${module##*/} in
    _test* | _xxtestfuzz* | _ctypes_test* | xxlimited* | xxsubtype*) mv "$module" "$full/$library/lib-dynload/" ;;
    *) say "$module is a library, though every standard module has to be in the interpreter" >&2; exit 1 ;;
    esac
done
strip --strip-debug "$full/$library"/lib-dynload/*.so

(cd Lib && find . -type d \( -name test -o -name tests -o -name idle_test \) -prune) | while read -r directory; do
    rm -rf "${installed:?}/$library/$directory"
    mkdir -p "$full/$library/${directory%/*}"
    cp -R "Lib/$directory" "$full/$library/$directory"
done
find $full -name __pycache__ -prune -exec rm -rf {} +

# All objects of the interpreter, and the archives of libraries that CPython brings along. Those of other packages are in $PREFIX/lib,
# also when python.sh runs.
static=$full/$(cd $installed && echo lib/python3.*/config-3.*)
mkdir -p "$static"
archive=libpython${library#lib/python}.a
make -s "$archive"
find Modules -name '*.a' -exec cp {} "$static/" \;
cp "$archive" Programs/python.o /build/entry.o /build/scheduler.o $memory_objects "$static/"
# What link-time optimisation keeps in objects is for this very compiler, and three times the size of the rest.
strip --strip-debug --remove-section='.gnu.lto_*' "$static"/*.a "$static"/*.o
