#!/bin/sh
# What a fully cached answer of BuildKit costs by dockless and by buildctl: the same definition, by turns, one daemon.
#   benches/buildkit/cached.sh [RUNS]       prints seconds of each run and the ratio of the medians
# Needs root, runc, and scripts/buildkit run once. Figures of a busy machine say nothing.
set -eu
cd "$(dirname "$0")/../.."
runs=${1:-15}
programs=$(scripts/buildkit)
dockless=$PWD/target/release/dockless
[ -x "$dockless" ] || { echo "build it first: cargo build --release" >&2; exit 2; }
place=$(mktemp -d)
address=unix://$place/buildkitd.sock
: > "$place/buildkitd.toml"
"$programs/buildkitd" --config "$place/buildkitd.toml" --root "$place/root" --addr "$address" \
    --oci-worker=true --containerd-worker=false 2> "$place/log" &
daemon=$!
trap 'kill $daemon; wait $daemon || :; rm -rf "$place"' EXIT
until "$programs/buildctl" --addr "$address" debug workers > /dev/null 2>&1; do sleep 0.1; done

mkdir "$place/context"
echo 'FROM scratch' > "$place/context/Dockerfile"
i=0
while [ $i -lt 50 ]; do
    echo "$i" > "$place/context/$i"
    echo "COPY $i /$i" >> "$place/context/Dockerfile"
    i=$((i + 1))
done
"$dockless" graph "$place/context/" --store "$place/store" --format pb > "$place/llb.pb" 2> /dev/null

ours() {
    "$dockless" solve --progress quiet --store "$place/store" --local context="$place/context" \
        --buildkit-addr "$address" < "$place/llb.pb" > /dev/null
}
theirs() {
    "$programs/buildctl" --addr "$address" build --progress quiet --local context="$place/context" \
        --output type=oci,tar=false,dest="$place/out" < "$place/llb.pb" > /dev/null 2>&1
}
seconds() {
    begun=$(date +%s%N)
    "$1"
    echo $(($(date +%s%N) - begun))
}
ours
theirs
i=0
while [ "$i" -lt "$runs" ]; do
    seconds ours >> "$place/ours"
    seconds theirs >> "$place/theirs"
    i=$((i + 1))
done
paste "$place/ours" "$place/theirs" | awk 'BEGIN { print "dockless buildctl (s)" } { printf "%.3f %.3f\n", $1 / 1e9, $2 / 1e9 }'
median() { sort -n "$1" | sed -n "$(((runs + 1) / 2))p"; }
awk -v a="$(median "$place/ours")" -v b="$(median "$place/theirs")" 'BEGIN { printf "ratio of the medians: %.2f\n", a / b }'
