#!/bin/sh
# What an answer costs that a BuildKit daemon has whole in its cache, by dockless and by buildctl: one definition, by turns, one daemon.
#   benches/buildkit/cached.sh [RUNS [RECIPE [DIR]]]       15 runs of python@3.11 by default
# Prints seconds of each run and the ratio of the medians. The daemon's cache and the store stay in DIR (target/bench-buildkit), so
# that only the first time builds anything, which for Python takes what a build takes. Needs root, runc, and scripts/buildkit run once.
# Figures of a busy machine say nothing.
set -eu
cd "$(dirname "$0")/../.."
runs=${1:-15} recipe=${2:-python@3.11} place=${3:-target/bench-buildkit}
programs=$(scripts/buildkit)
dockless=$PWD/target/release/dockless
[ -x "$dockless" ] || { echo "build it first: cargo build --release" >&2; exit 2; }
mkdir -p "$place"
place=$(cd "$place" && pwd)
address=unix://$place/buildkitd.sock
printf "[otel]\n  socketPath = '%s/otel.sock'\n" "$place" > "$place/buildkitd.toml"
"$programs/buildkitd" --config "$place/buildkitd.toml" --root "$place/root" --addr "$address" \
    --oci-worker=true --containerd-worker=false 2> "$place/log" &
daemon=$!
trap 'kill $daemon; wait $daemon || :; rm -rf "$place/out" "$place/ours" "$place/theirs"' EXIT
until "$programs/buildctl" --addr "$address" debug workers > /dev/null 2>&1; do sleep 0.1; done

"$dockless" graph "$recipe" --profile quick --engine buildkit --format pb > "$place/llb.pb"

ours() {
    "$dockless" build "$recipe" --profile quick --progress quiet --store "$place/store" --buildkit-addr "$address" > /dev/null
}
theirs() {
    "$programs/buildctl" --addr "$address" build --progress quiet --local scripts=scripts \
        --oci-layout dockless="$place/store" --output type=oci,tar=false,dest="$place/out" < "$place/llb.pb" > /dev/null 2>&1
}
seconds() {
    begun=$(date +%s%N)
    "$1"
    echo $(($(date +%s%N) - begun))
}
ours
theirs
: > "$place/ours"
: > "$place/theirs"
i=0
while [ "$i" -lt "$runs" ]; do
    seconds ours >> "$place/ours"
    seconds theirs >> "$place/theirs"
    i=$((i + 1))
done
paste "$place/ours" "$place/theirs" | awk 'BEGIN { print "dockless buildctl (s)" } { printf "%.3f %.3f\n", $1 / 1e9, $2 / 1e9 }'
median() { sort -n "$1" | sed -n "$(((runs + 1) / 2))p"; }
awk -v a="$(median "$place/ours")" -v b="$(median "$place/theirs")" 'BEGIN { printf "ratio of the medians: %.2f\n", a / b }'
