#!/usr/bin/env bash
# What a release does with a registry, on this machine and without a network: the image of all processors that are here, the charts and
# the embedded policy are pushed, signed with a key, verified, and pulled again. What is not set up is passed over, and that is said.
#
#   deploy/oci.sh      after `make image-layout`, for the image; `make package` runs it
#
# LAYOUTS="arm64=DIR …" names the contents of the image for other processors.
set -euo pipefail
cd "$(dirname "$0")/.."

# In a network namespace of its own, where nothing is but loopback.
if [ -z "${INSIDE:-}" ] && unshare --map-root-user --net true 2>/dev/null; then
  exec env INSIDE=yes unshare --map-root-user --net "$0" "$@"
fi
if [ -n "${INSIDE:-}" ]; then ip link set lo up; else echo "skipped: the proof that no network is needed: no namespaces here"; fi

tools=$PWD/target/tools/bin
out=target/package
work=$PWD/$out/oci
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
case $(uname -m) in x86_64) here=amd64 ;; aarch64) here=arm64 ;; *) here=$(uname -m) ;; esac

die() { echo "oci: $*" >&2; exit 1; }
step() { echo "== $*"; }
for program in docker-registry "$tools/crane" "$tools/cosign"; do
  command -v "$program" >/dev/null || { echo "skipped: images and signatures: $program is not set up"; exit 0; }
done
# Logins and caches of this user are not touched.
export HOME=$work/home DOCKER_CONFIG=$work/home COSIGN_PASSWORD='' SIGSTORE_NO_CACHE=1
rm -rf "$work"
mkdir -p "$HOME"

address=127.0.0.1:$((20000 + $$ % 10000))
cat >"$work/registry.yaml" <<EOF
{version: 0.1, storage: {filesystem: {rootdirectory: $work/blobs}}, http: {addr: "$address"}}
EOF
docker-registry serve "$work/registry.yaml" >"$work/registry.log" 2>&1 &
registry=$!
trap 'kill "$registry" 2>/dev/null' EXIT
until (exec 3<>"/dev/tcp/${address%:*}/${address#*:}") 2>/dev/null; do
  kill -0 "$registry" 2>/dev/null || die "the registry ended: $(tail -n 3 "$work/registry.log")"
  sleep 0.1
done

for name in release another; do "$tools/cosign" generate-key-pair --output-key-prefix "$work/$name" 2>/dev/null; done
# Nothing is asked of Sigstore's servers: no transparency log, no signing service, no list of either.
sign() { "$tools/cosign" sign --yes --key "$work/release.key" --use-signing-config=false --tlog-upload=false "$1" 2>"$work/sign.log" || { cat "$work/sign.log" >&2; die "$1 was not signed"; }; }
verified() { "$tools/cosign" verify --key "$work/$2.pub" --insecure-ignore-tlog=true "$1" >"$work/verify.log" 2>&1; }
signed() {
  ! verified "$1" release || die "$1 counts as signed before it is"
  sign "$1"
  verified "$1" release || { cat "$work/verify.log" >&2; die "$1 does not verify"; }
  ! verified "$1" another || die "$1 verifies with another key"
  echo "signed and verified: ${1#"$address"/}"
}

if [ -x target/image/redis-operator ]; then
  step "image"
  image=$address/redis-operator:$version
  made=$(git log -1 --format=%ct 2>/dev/null || echo 0)
  singles=()
  for layout in "$here=target/image" ${LAYOUTS:-}; do
    single=$image-${layout%%=*}
    tar --create --sort=name --mtime="@$made" --owner=0 --group=0 --numeric-owner --directory "${layout#*=}" . >"$work/layer.tar"
    "$tools/crane" append --oci-empty-base --new_layer "$work/layer.tar" --new_tag "$single" >/dev/null 2>&1
    # As deploy/Dockerfile and the release workflow have it.
    "$tools/crane" mutate "$single" --tag "$single" --set-platform "linux/${layout%%=*}" --entrypoint /redis-operator --user 65532:65532 \
      --label org.opencontainers.image.title=redis-operator --label "org.opencontainers.image.version=$version" \
      --label org.opencontainers.image.licenses=Apache-2.0 >/dev/null
    singles+=(--manifest "$single")
  done
  "$tools/crane" index append "${singles[@]}" --tag "$image" >/dev/null 2>&1
  rm "$work/layer.tar"
  signed "$image@$("$tools/crane" digest "$image")"

  # As a node does: by its own processor, out of the index.
  "$tools/crane" validate --remote "$image" >/dev/null 2>&1 || die "the registry's index is not valid"
  "$tools/crane" config --platform "linux/$here" "$image" >"$work/config.json"
  for part in "\"architecture\":\"$here\"" '"Entrypoint":["/redis-operator"]' '"User":"65532:65532"'; do
    grep -qF "$part" "$work/config.json" || die "the image lacks $part"
  done
  mkdir "$work/root"
  "$tools/crane" export --platform "linux/$here" "$image" - | tar --extract --no-same-owner --directory "$work/root"
  diff -r target/image "$work/root" || die "the image holds something else than its layout"
  env -u HOME chroot "$work/root" /redis-operator policy inspect >/dev/null || die "what was pulled does not run"
  "$tools/crane" manifest "$image" | grep -o '"architecture":"[a-z0-9]*"' | sed 's/.*:"\(.*\)"/pulled, and runs: linux\/\1/'
  rm -rf "$work/root"
else
  echo "skipped: the image: make image-layout makes its content"
fi

helm=target/cluster/helm
if [ -x "$helm" ] && compgen -G "$out/redis-operator-$version.tgz" >/dev/null; then
  step "charts"
  for chart in redis-operator redis-group; do
    digest=$("$helm" push "$out/$chart-$version.tgz" "oci://$address/charts" --plain-http 2>&1 | sed -n 's/^Digest: //p')
    signed "$address/charts/$chart@$digest"
    "$helm" pull "oci://$address/charts/$chart" --version "$version" --plain-http --destination "$work" >/dev/null 2>&1
    cmp "$out/$chart-$version.tgz" "$work/$chart-$version.tgz"
  done
else
  echo "skipped: the charts: no Helm, or they were not packaged"
fi

for program in target/image/redis-operator target/debug/redis-operator; do [ -x "$program" ] && break; done
if [ -x "$program" ]; then
  step "policy"
  "$program" policy export --output "$work/default.wasm"
  pinned=$("$program" policy push "$work/default.wasm" "$address/policies/default:$version" --plain-http | tail -n 1)
  signed "$address/policies/default@${pinned##*@}"
  "$program" policy pull "$pinned" --plain-http --output "$work/pulled.wasm" >/dev/null
  cmp "$work/default.wasm" "$work/pulled.wasm"
else
  echo "skipped: the policy: the operator is not built"
fi

if [ -e "$out/checksums.txt" ]; then
  step "checksums"
  bundle=$work/checksums.txt.sigstore.json
  "$tools/cosign" sign-blob --yes --key "$work/release.key" --use-signing-config=false --tlog-upload=false --bundle "$bundle" "$out/checksums.txt" >/dev/null 2>&1
  checked() { "$tools/cosign" verify-blob --key "$work/$1.pub" --insecure-ignore-tlog=true --bundle "$bundle" "$2" >/dev/null 2>&1; }
  checked release "$out/checksums.txt" || die "the checksums do not verify"
  ! checked another "$out/checksums.txt" || die "the checksums verify with another key"
  echo >>"$work/other.txt" "and one more"
  ! checked release "$work/other.txt" || die "other checksums verify"
  echo "signed and verified: checksums.txt"
fi
rm -rf "$work/blobs"
