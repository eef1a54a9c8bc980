#!/usr/bin/env bash
# The program as an archive, in target/package: NAME-TARGET-vVERSION.tgz with a folder of that name, as `cargo binstall` looks for it; with
# man pages, completions, licence and README. The same input makes the same bytes. Beside it the bill of materials, in CycloneDX.
#
#   deploy/archive.sh      for this machine's architecture; `make archive` installs the prerequisites
#
# PROGRAM=FILE packs that one in place of building it.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
name=redis-operator-$(uname -m)-unknown-linux-musl-v$version
out=target/package
program=${PROGRAM:-target/image/redis-operator}

[ -n "${PROGRAM:-}" ] || CARGO=$cargo deploy/image.sh
rm -rf "$out/$name"
mkdir -p "$out/$name/completions"
cp "$program" "$out/$name/redis-operator"
cp LICENSE README.md CHANGELOG.md "$out/$name/"
"$program" man "$out/$name/man"
for shell in bash zsh fish; do "$program" completions "$shell" >"$out/$name/completions/redis-operator.$shell"; done

made=$(git log -1 --format=%ct 2>/dev/null || echo 0)
tar --create --sort=name --mtime="@$made" --owner=0 --group=0 --numeric-owner --directory "$out" "$name" | gzip --no-name --best >"$out/$name.tgz"
rm -rf "${out:?}/$name"

tools=$PWD/target/tools/bin
if [ -x "$tools/cargo-cyclonedx" ]; then
  PATH=$tools:$PATH "$cargo" cyclonedx --quiet --format json --manifest-path host/Cargo.toml --target "$(uname -m)-unknown-linux-musl" --override-filename "$name.cdx"
  mv "host/$name.cdx.json" "$out/"
  # It writes one for each member of the workspace.
  find core example tests deploy -name "$name.cdx.json" -not -path '*/target/*' -delete
else
  echo "skipped: the bill of materials: cargo-cyclonedx is not set up"
fi
(cd "$out" && sha256sum "$name".*)
