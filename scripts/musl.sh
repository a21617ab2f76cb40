# musl: the C library of the tree, and the sysroot and compiler that everything else is built with.
#
# Out: lib/libc.so (library and dynamic loader in one), lib/*.a and start files, include/ with the kernel's headers,
#      lib/ld-musl-<arch>.so.1 -> libc.so, and the compiler bin/<triple>-gcc.
#
# The loader's path is /deps/lib/..., so programs made by later steps run there without a file in /lib of the step's root.
. /scripts/step.sh

case $DOCKLESS_ARCH in
x86_64) musl_arch=x86_64 machine="-m64" kernel_asm=/usr/include/x86_64-linux-gnu/asm ;;
x86)    musl_arch=i386 machine="-m32 -march=i686 -mtune=generic" kernel_asm=/usr/include/i386-linux-gnu/asm ;;
*)      say "unknown architecture $DOCKLESS_ARCH" >&2; exit 1 ;;
esac

unpack musl
patches musl

# The compiler is the root's gcc for now: the wrapper below needs what we are about to build. CROSS_COMPILE is set empty because
# musl, told a --target, looks for x86_64-ar. Not -fPIC: musl decides object by object.
CC="gcc $machine" CFLAGS="-O2 -g0 -ffile-prefix-map=/build=." CPPFLAGS='' LDFLAGS='-Wl,-z,relro -Wl,-z,now' CROSS_COMPILE='' \
    ./configure --prefix=$PREFIX --syslibdir=$PREFIX/lib --target=$musl_arch --enable-wrapper=gcc
make AR=ar RANLIB=ranlib

# Kernel headers first, musl's over them: it has its own scsi/*.h.
mkdir -p /build/stage$PREFIX/include
for directory in linux asm-generic mtd misc rdma scsi sound video xen; do
    cp -r /usr/include/$directory /build/stage$PREFIX/include/
done
cp -r $kernel_asm /build/stage$PREFIX/include/asm
make install AR=ar RANLIB=ranlib DESTDIR=/build/stage

publish /build/stage
ln -sf libc.so /out/lib/ld-musl-$musl_arch.so.1
rm -f /out/bin/musl-gcc
strip --strip-debug /out/lib/libc.so /out/lib/*.a

# The compiler. Three things about it are load-bearing: "gcc" in its name, or CPython's configure drops its optimizations without
# a word; the answer to --print-multiarch, or the same configure stops; the prefix map, so that no assert names a build directory.
cat > /out/bin/$TRIPLE-gcc <<EOF
#!/bin/sh
for argument; do
    case \$argument in --print-multiarch) echo $TRIPLE; exit ;; esac
done
exec gcc $machine -specs $PREFIX/lib/musl-gcc.specs -ffile-prefix-map=/build=. -ffile-prefix-map=$PREFIX=. "\$@"
EOF
chmod 755 /out/bin/$TRIPLE-gcc

licence COPYRIGHT
