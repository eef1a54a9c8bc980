#!/usr/bin/env bash
# A Kubernetes control plane, kubectl and Helm, built from their own source through the Go module proxy, as one binary with a link
# for each (cluster/main.go). About five minutes on two cores when cold; the binary stays until what it was made from changes.
#
#   cluster.sh DIR      then: DIR/kube-apiserver, DIR/kube-controller-manager, DIR/kube-scheduler, DIR/kubectl, DIR/helm
#
# Optional: without Go it prints `skipped: …` and succeeds. The tests that need a cluster then say so too.
set -euo pipefail
mkdir -p "$1"
dir=$(cd "$1" && pwd)
cd "$(dirname "$0")/cluster"
stamp=$dir/.made-from-$(cat ../cluster.sh go.mod go.sum main.go | git hash-object --stdin)
components=(kube-apiserver kube-controller-manager kube-scheduler kubectl helm)

[ ! -e "$stamp" ] || exit 0
if ! command -v go >/dev/null; then
  echo "skipped: the Kubernetes control plane: go is missing (https://go.dev/dl; or prebuilt components in KUBEBUILDER_ASSETS)"
  exit 0
fi

version=$(sed -n 's|^\tk8s.io/kubernetes v||p' go.mod)
helm=$(sed -n 's|^\thelm.sh/helm/v4 ||p' go.mod)
# Clients parse the version that the API server tells: it is set when linking, as Kubernetes' own build does.
at=k8s.io/component-base/version
flags="-s -w -X $at.gitVersion=v$version -X $at.gitMajor=${version%%.*} -X $at.gitMinor=$(cut -d. -f2 <<<"$version")"
flags+=" -X $at.gitCommit=unknown -X $at.gitTreeState=clean -X helm.sh/helm/v4/internal/version.version=$helm"
# The build cache is 2.7 GB and of no use once the binary is there; what a build that was stopped left behind is used again.
export GOCACHE=$dir/.go-build
echo "building Kubernetes $version and Helm $helm, once: some minutes"
rm -f "$dir"/.made-from-*
nice -n 10 go build -trimpath -ldflags "$flags" -o "$dir/cluster" .
for component in "${components[@]}"; do ln -sf cluster "$dir/$component"; done
"$dir/kubectl" version --client
rm -rf "$GOCACHE"
touch "$stamp"
