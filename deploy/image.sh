#!/usr/bin/env bash
# Makes what the image holds, in target/image: the operator as one static program, and the certificates of the public
# authorities, for policies from registries. Fails if the program needs anything else: there is nothing else in the image.
#
#   deploy/image.sh      for this machine's architecture; `make image-layout` sets up what it needs
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

if readelf --wide --program-headers "$program" | grep -q INTERP; then die "$program wants an interpreter: it is not static"; fi
if readelf --wide --dynamic "$program" | grep -q NEEDED; then die "$program wants libraries: it is not static"; fi

# In a root of its own, as in the container: it starts, and its policy compiles and answers. Without a home it leaves nothing there.
if [ "$(id -u)" -eq 0 ]; then inside=(chroot); else inside=(unshare --map-root-user chroot); fi
env -u HOME -u XDG_CACHE_HOME "${inside[@]}" "$root" /redis-operator policy inspect >/dev/null || die "$program does not run by itself"

(cd "$root" && find . -type f -printf '%P\t%s bytes\n' | sort)
