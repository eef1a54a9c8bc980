#!/usr/bin/env bash
# Programs that judge or install what is packaged, built from their own source through the Go module proxy, each of an exact version.
#
#   tools.sh DIR NAME…      then: DIR/NAME; helm3, operator-verify, validate-krew-manifest
#
# Optional: without Go it prints `skipped: …` and succeeds. What needs them then says so too.
set -euo pipefail
mkdir -p "$1"
dir=$(cd "$1" && pwd)
shift

package() {
  case $1 in
    helm3) echo helm.sh/helm/v3/cmd/helm@v3.22.0 ;;
    operator-verify) echo github.com/operator-framework/api/cmd/operator-verify@v0.35.0 ;;
    validate-krew-manifest) echo sigs.k8s.io/krew/cmd/validate-krew-manifest@v0.5.0 ;;
    *) echo "tools: none is called $1" >&2; return 1 ;;
  esac
}

# As its own build does: what it takes a cluster for that it cannot ask.
flags() {
  local at=helm.sh/helm/v3/pkg
  case $1 in
    helm3) echo "-X $at/chartutil.k8sVersionMinor=37 -X $at/lint/rules.k8sVersionMinor=37" ;;
  esac
}

missing=()
for name; do
  package=$(package "$name")
  made_from="$package $(flags "$name")"
  [ "$(cat "$dir/.$name" 2>/dev/null)" = "$made_from" ] || missing+=("$name")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if ! command -v go >/dev/null; then
  echo "skipped: ${missing[*]}: go is missing (https://go.dev/dl)"
  exit 0
fi

# One cache for all, which share most of Kubernetes, and which is of no use afterwards.
export GOCACHE=$dir/.go-build
made=$dir/.made
for name in "${missing[@]}"; do
  package=$(package "$name")
  echo "building $package, once"
  GOBIN=$made nice -n 10 go install -trimpath -ldflags "-s -w $(flags "$name")" "$package"
  mv "$made"/* "$dir/$name"
  echo "$package $(flags "$name")" >"$dir/.$name"
done
rm -rf "$GOCACHE" "$made"
