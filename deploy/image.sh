#!/usr/bin/env bash
# Builds the content of the image, in target/image: the operator as one static program, and the certificates of the public
# authorities, for policies from registries. Fails if the program needs anything else, which the image does not have.
#
#   deploy/image.sh      for this machine's architecture; `make image-layout` installs the prerequisites
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(uname -m)-unknown-linux-musl
root=target/image
program=$root/redis-operator

die() { echo "image: $*" >&2; exit 1; }

${CARGO:-cargo} build --locked --release --package redis-operator --target "$target"

rm -rf "$root"
mkdir -p "$root/etc/ssl/certs"
cp "target/$target/release/redis-operator" "$program"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"

if readelf --wide --program-headers "$program" | grep -q INTERP; then die "$program needs an interpreter: it is not static"; fi
if readelf --wide --dynamic "$program" | grep -q NEEDED; then die "$program needs libraries: it is not static"; fi

# In a root directory of its own, as in the container: it starts, and its policy compiles and answers. Without HOME it writes no cache.
if [ "$(id -u)" -eq 0 ]; then inside=(chroot); else inside=(unshare --map-root-user chroot); fi
env -u HOME -u XDG_CACHE_HOME "${inside[@]}" "$root" /redis-operator policy inspect >/dev/null || die "$program does not run alone"

(cd "$root" && find . -type f -printf '%P\t%s bytes\n' | sort)
