#!/usr/bin/env bash
# Makes what a release ships beside the program, in target/package, from what deploy/ has, and lets those judge it that will: Helm, the
# validators of OLM, krew and Prometheus, and a real API server. What is not set up is passed over, and that is said.
#
#   deploy/package.sh      `make package` installs the prerequisites
#
# REPOSITORY, IMAGE and MAINTAINER say where the release comes from; a clone does not know. CASES=none leaves out the test cluster.
set -euo pipefail
cd "$(dirname "$0")/.."

out=target/package
tools=target/tools/bin
cargo=${CARGO:-cargo}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
image=${IMAGE:-redis-operator}
repository=${REPOSITORY:-https://example.com/redis-operator}
kubectl=target/cluster/kubectl
[ -x "$kubectl" ] || kubectl=kubectl

package() { "$cargo" run --quiet --locked -p package -- "$@"; }
has() { [ -x "$tools/$1" ] || { echo "skipped: $1: not set up"; return 1; }; }
step() { echo "== $*"; }

step "files that are made from others"
package generate

step "install.yaml, and the same for named namespaces"
rm -rf "$out/charts" "$out/bundle" "$out/install"
mkdir -p "$out"
for installation in install:deploy install-namespaced:deploy/namespaced monitoring:deploy/monitoring; do
  "$kubectl" kustomize "${installation#*:}" | sed -e "s,\(image\|value\): redis-operator:$version\$,\1: $image:$version," \
    -e "s,https://example.com/redis-operator/blob/main,${repository%/}/blob/v$version," >"$out/${installation%%:*}.yaml"
done
cp deploy/crds.yaml "$out/crds.yaml"

step "charts"
for chart in redis-operator:chart redis-group:chart-redis; do
  package chart "deploy/${chart#*:}" "$out/charts/${chart%%:*}"
done
for helm in target/cluster/helm "$tools/helm3"; do
  [ -x "$helm" ] || { echo "skipped: $helm: not set up"; continue; }
  for chart in redis-operator redis-group; do
    "$helm" lint --strict "$out/charts/$chart" >"$out/lint.log" || { cat "$out/lint.log"; exit 1; }
    "$helm" package --destination "$out" "$out/charts/$chart" >/dev/null
  done
done

step "the book"
rm -rf "$out/book"
package book "$out/book"
if command -v mdbook >/dev/null; then mdbook build --dest-dir "$PWD/$out/book/html" "$out/book"; else echo "skipped: the book as HTML: no mdbook (cargo install mdbook)"; fi

step "bundle"
package bundle "$out/install.yaml" "$out/bundle" --created "$(git log -1 --format=%cI 2>/dev/null || date -u +%FT%TZ)"
if has operator-verify; then
  # It prints what it finds, and exits with 0 whatever that is. Two warnings mean nothing: it takes rights to endpointslices and events, which
  # have no version, for those of versions that are gone, and it says of itself that a newer validator has another name.
  "$tools/operator-verify" manifests --operatorhub_validate --object_validate "$out/bundle/manifests" >"$out/bundle.log" 2>&1
  kind='(endpointslices|events): [^,]*,'
  if grep -v -E "Migrate the API\(s\) for $kind$kind\"\$|validator is deprecated" "$out/bundle.log"; then
    echo "package: the bundle is not valid" >&2
    exit 1
  fi
fi

step "plugin and formula"
# Of the archives that are here; a release brings those of all processors.
if compgen -G "$out/redis-operator-*-linux-*.tgz" >/dev/null; then
  (cd "$out" && sha256sum redis-operator-*-linux-*.tgz) >"$out/archives.txt"
else
  echo "no archive here (make archive): the sums of two that are not there stand in"
  for processor in x86_64 aarch64; do echo "$(printf 0%.0s {1..64})  redis-operator-$processor-unknown-linux-musl-v$version.tgz"; done >"$out/archives.txt"
fi
package plugin "$out/archives.txt" "$out"
for name in redis redis-failover; do
  has validate-krew-manifest || continue
  "$tools/validate-krew-manifest" -manifest "$out/krew/$name.yaml" -skip-install
done
if command -v ruby >/dev/null; then ruby -c "$out/homebrew/redis-operator.rb"; else echo "skipped: the formula's syntax: no ruby"; fi

step "alerts"
if has promtool; then "$tools/promtool" check rules deploy/monitoring/rules.yaml; fi

step "rendering, values, scripts"
"$cargo" test --quiet --locked -p package

if [ "${CASES:-}" != none ]; then
  step "installed, upgraded, rolled back, uninstalled and reinstalled with live data"
  "$cargo" test --locked --workspace --test cluster -- chart_
fi

(cd "$out" && rm -f checksums.txt && find . -maxdepth 1 -type f \( -name '*.tgz' -o -name '*.yaml' -o -name '*.json' \) -printf '%P\n' | sort | xargs sha256sum >checksums.txt)
step "$out"
(cd "$out" && find . -maxdepth 1 -type f -name '*.*' -printf '%P\t%s bytes\n' | sort)
