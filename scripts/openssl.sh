# OpenSSL: lib/libssl.a, lib/libcrypto.a, include/openssl.
#
# OPENSSLDIR is /etc/ssl: certificates and openssl.cnf of Debian, Alpine and SUSE. no-async: musl has no ucontext. no-dso and
# no-module: a provider or engine that the host's openssl.cnf names is built for the host's libc, loading it would end the process.
# The directories that are compiled in are named so that they point nowhere in particular, least of all into this build.
. /scripts/step.sh

unpack openssl
# Configure wants the compiler only; flags from the environment would be taken twice and CPPFLAGS would be recorded.
unset CFLAGS CPPFLAGS LDFLAGS AR RANLIB NM STRIP
./Configure "$OPENSSL_TARGET" --prefix=$PREFIX --libdir=lib --openssldir=/etc/ssl \
    no-shared no-module no-dso no-tests no-apps no-docs no-async no-comp no-idea no-mdc2 no-rc5 no-ssl3 no-seed \
    no-weak-ssl-ciphers no-afalgeng no-engine no-quic enable-ktls \
    -O2 -g0 -fPIC -ffunction-sections -fdata-sections
directories="MODULESDIR=/usr/local/lib/ossl-modules ENGINESDIR=/usr/local/lib/engines-3"
make build_libs $directories
make install_dev DESTDIR=/build/stage $directories

publish /build/stage
licence LICENSE.txt
