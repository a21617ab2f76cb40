# Scripts and cargo do the work, so that a machine without `just` can do everything too.

# What there is to do
default:
    @just --list

# Compiles the command
build *ARGS:
    cargo build --release {{ARGS}}

# Every test that needs no whole build; with a filter, only the tests whose name holds it
test *FILTER:
    ./scripts/test {{ if FILTER == "" { "--fast" } else { FILTER } }}

# Form, lints, dependencies
lint:
    ./scripts/lint

# The whole matrix into dist/, or what is named, e.g. `just release 3.11 --arch x86 --keep-going` (docs/release.md)
release *ARGS:
    cargo run --release --quiet -- release {{ARGS}}

# What this machine can do
doctor:
    cargo run --release --quiet -- doctor

# What CI runs
ci:
    ./.ci/run
