# Makes CPython with the optimisation that $DOCKLESS_PROFILE names; sourced by cpython.sh in the configured source tree.
#
#   quick    -O2, once
#   train    with counters; runs the training load and gives out what was counted: /out/profile.tar.xz
#   release  with what was counted before (/sources/profile) and optimisation at link time
#
# Two training runs never count the same: the load has threads, addresses and a clock. So a build does not train. It takes counts that
# somebody pinned, and comes out the same to the bit each time.
#
# For Objects/x.o the compiler looks into Objects/x.gcda, and there for a function by its name and a checksum of its flow graph: what
# changed since the training is compiled as if nothing were known of it (gcc/coverage.cc, get_coverage_counts). Counters of another
# compiler release would be ignored, all of them, hence the file `compiler`; those of another level of optimisation in part, hence `level`.

# Nobody installs _testembed: with link-time optimisation it would be one more program of the size of the interpreter.
without_testembed="-o Programs/_testembed"
compiler=$($CC -dumpfullversion)

make_quick() {
    make LDFLAGS_NODIST=-no-pie
    make install DESTDIR=/build/stage LDFLAGS_NODIST=-no-pie
}

make_train() {
    # -O3 inlines as far as the counts say that it pays: a tenth fewer instructions than -O2 (docs/profiles.md). What is not hot stays small.
    level=-O3
    # Counters are not atomic: the lock of the interpreter serves, and the few that are lost cost less than a load five times slower.
    counting="$level -fprofile-generate -fprofile-update=single"
    if [ "$DOCKLESS_ARCH" = x86 ]; then $CC -O2 -g0 -Wall -Wextra -c /scripts/cpython/gcov-x86.c -o /build/gcov.o; fi
    make CFLAGS_NODIST="$CFLAGS_NODIST $counting" LDFLAGS_NODIST="-no-pie $counting $([ ! -f /build/gcov.o ] || echo /build/gcov.o)"
    # What building has counted is no load.
    find . -name '*.gcda' -exec rm -f {} +
    say "training: CPython's tests for this purpose"
    # The two want a locale that musl does not have. A test that fails has counted, too; one that cannot start has not, and the
    # summary of a profile shows that.
    ./python -m test --pgo --timeout=1200 --ignore test_locale_caching --ignore test_locale_compiled || say "some tests failed"
    for load in /scripts/cpython/training/*.py; do
        say "training: ${load##*/}"
        ./python "$load"
    done
    # A file without a single count says nothing.
    printf '%s\n' "$compiler" > compiler
    printf '%s\n' "$level" > level
    find . -name '*.gcda' | LC_ALL=C sort > files
    tar -c --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mode=644 --mtime="@$SOURCE_DATE_EPOCH" \
        --no-recursion -f /build/profile.tar compiler level -T files
    xz -9e --stdout --threads=1 /build/profile.tar > /out/profile.tar.xz
}

make_release() {
    ( cd /sources/profile && printf '%s  %s\n' "$DOCKLESS_TRAINED_SHA256" "$DOCKLESS_TRAINED" | sha256sum -c - )
    tar -x -f "/sources/profile/$DOCKLESS_TRAINED" --no-same-owner
    if [ "$(cat compiler)" != "$compiler" ]; then
        say "the profile was trained with gcc $(cat compiler), this is gcc $compiler, which cannot read it: dockless profile train" >&2
        exit 1
    fi
    # Flow graphs differ from level to level: with another one than the training's the counts of many functions would be lost. Profiles
    # without this file were trained with -O2.
    level=-O2
    [ ! -f level ] || level=$(cat level)
    optimise="$level -fprofile-use -fprofile-correction -Wno-missing-profile -Wno-coverage-mismatch -flto=auto -ffat-lto-objects"
    linked="$level -no-pie -flto=auto"
    # Programs that only make files of the source tree are linked from the machine code that fat objects have, too.
    tools=
    for tool in Programs/_freeze_module _bootstrap_python; do
        if grep -q "^$tool:" Makefile; then tools="$tools $tool"; fi
    done
    if [ -n "$tools" ]; then
        make CFLAGS_NODIST="$CFLAGS_NODIST $optimise" PY_CORE_LDFLAGS="$LDFLAGS -no-pie -fno-lto" \
            PY_LDFLAGS_NOLTO="$LDFLAGS -no-pie -fno-lto" $tools
    fi
    make $without_testembed CFLAGS_NODIST="$CFLAGS_NODIST $optimise" LDFLAGS_NODIST="$linked"
    make $without_testembed install DESTDIR=/build/stage CFLAGS_NODIST="$CFLAGS_NODIST $optimise" LDFLAGS_NODIST="$linked"
}

make_"$DOCKLESS_PROFILE"
# For PYTHON.json.
mkdir -p /out/share
printf '{"profile": "%s", "archive": "%s", "sha256": "%s"}\n' "$DOCKLESS_PROFILE" "${DOCKLESS_TRAINED:-}" "${DOCKLESS_TRAINED_SHA256:-}" \
    > /out/share/profile.json
