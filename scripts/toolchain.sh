# The optional toolchain package: out of what musl.sh built, opt/python-toolchain with everything that a compiler of the machine
# needs to compile for musl. It holds no compiler: gcc is nearly everywhere, and where it is not, zig comes as a wheel.
#
# Out: bin/<triple>-gcc -g++ -ar    wrappers (toolchain/wrapper.sh), which find their files relative to themselves
#      include/ lib/                musl's and the kernel's headers, libc.so, archives, start files
#      lib/musl-gcc.specs           what makes a gcc for glibc one for musl; paths by $PYTHON_TOOLCHAIN, so that it may be moved
. /scripts/step.sh

case $DOCKLESS_ARCH in
x86_64) emulation=elf_x86_64 cross="x86_64-linux-gnu-gcc" package="gcc" ;;
x86)    emulation=elf_i386 cross="i686-linux-gnu-gcc" package="gcc-multilib, gcc-i686-linux-gnu" ;;
esac

root=/out/opt/python-toolchain
mkdir -p $root/bin $root/lib $root/share/licenses/musl $root/share/licenses/linux

cp -R $PREFIX/include $root/include
for file in $PREFIX/lib/*.a $PREFIX/lib/*.o $PREFIX/lib/libc.so; do cp "$file" $root/lib/; done

# What compilers with -fstack-protector by default (Ubuntu's, Alpine's) want on x86 and musl has only inside libc.so.
cat > /build/protector.c <<'END'
extern _Noreturn void __stack_chk_fail(void);
__attribute__((visibility("hidden"))) _Noreturn void __stack_chk_fail_local(void) { __stack_chk_fail(); }
END
$CC -O2 -g0 -fPIC -fno-stack-protector -c /build/protector.c -o /build/protector.o
(cd /build && $AR rcsD $root/lib/libstack_protector.a protector.o)
strip --strip-debug $root/lib/libstack_protector.a

sed "s/@EMULATION@/$emulation/" /scripts/toolchain/musl-gcc.specs > $root/lib/musl-gcc.specs
for tool in gcc g++ ar; do
    sed -e "s/@TRIPLE@/$TRIPLE/g" -e "s/@ARCH@/$DOCKLESS_ARCH/g" -e "s/@CROSS@/$cross/g" -e "s/@PACKAGE@/$package/g" \
        /scripts/toolchain/wrapper.sh > "$root/bin/$TRIPLE-$tool"
    chmod 755 "$root/bin/$TRIPLE-$tool"
done
printf '{"format": 1, "architecture": "%s", "triple": "%s", "musl": "%s"}\n' "$DOCKLESS_ARCH" "$TRIPLE" "$DOCKLESS_VERSION" \
    > $root/TOOLCHAIN.json

cp $PREFIX/share/licenses/musl/* $root/share/licenses/musl/
cp /usr/share/common-licenses/GPL-2 $root/share/licenses/linux/GPL-2.0
cp /scripts/toolchain/Linux-syscall-note $root/share/licenses/linux/Linux-syscall-note

# Nothing of the build, and it works: an extension module as setuptools would link it, and a program.
if grep -rl -e '/deps/' -e /build/ $root; then say "the files above name directories of the build" >&2; exit 1; fi
cat > /build/probe.c <<'END'
#include <stdio.h>
#include <linux/version.h>
long long quotient(long long a, long long b) { return a / b; }
int main(void) { return puts("probe") < 0; }
END
cd /build
$root/bin/$TRIPLE-gcc -fPIC -fstack-protector-all -c probe.c -o probe.o
$root/bin/$TRIPLE-gcc -shared probe.o -o probe.so
if [ "$(readelf -d probe.so | grep -c -E 'NEEDED|RPATH|RUNPATH')" != 1 ] || ! readelf -d probe.so | grep -q 'NEEDED.*\[libc.so\]'; then
    readelf -d probe.so >&2
    say "an extension module would need more than libc.so" >&2
    exit 1
fi
$root/bin/$TRIPLE-gcc -static probe.c -o probe
./probe

find $root -type d -exec chmod 755 {} +
find $root -type f -perm /111 -exec chmod 755 {} +
find $root -type f ! -perm /111 -exec chmod 644 {} +
