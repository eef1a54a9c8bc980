#!/usr/bin/env bash
# Brings a machine that has rustup's Rust, gcc, Python 3 and Node to where the tests run. Installs what is missing and nothing
# else; run again, it does nothing, in a moment. What has to be made is stamped with a hash of what it was made from.
#
#   setup.sh rust | redis | python | node | servers | ruby | clients | registry | cluster | image | deny | helm | helm3 | lua | validators | exporter | sbom …      the parts that are wanted
set -euo pipefail
cd "$(dirname "$0")/../.."
CARGO_DENY=0.20.2
CARGO_CYCLONEDX=0.5.9

rust() { # The compiler and its wasm target, named in rust-toolchain.toml
  has cargo || die "cargo is missing: install Rust with rustup (https://rustup.rs)"
  local sysroot
  sysroot=$(rustc --print sysroot)
  [ -d "$sysroot/lib/rustlib/wasm32-unknown-unknown" ] && return
  has rustup || die "the wasm32-unknown-unknown target is missing, and there is no rustup to add it"
  rustup target add wasm32-unknown-unknown
}

redis() { # A real Redis, and openssl for the TLS tests
  local missing=()
  has redis-server || missing+=(redis-server)
  has redis-cli || missing+=(redis-tools)
  has openssl || missing+=(openssl)
  [ ${#missing[@]} -eq 0 ] && return
  install_packages "${missing[@]}"
  # Debian starts what it installs. Nothing here wants that one: tests start their own, on ports of their own.
  if [[ " ${missing[*]} " = *" redis-server "* ]] && [ -d /run/systemd/system ]; then as_root systemctl disable --quiet --now redis-server || true; fi
}

python() { # What example/hosts/python needs, in target/venv
  local wants=example/hosts/python/requirements.txt stamp
  has python3 || die "python3 is missing"
  stamp=target/venv/.made-from-$({ cat "$wants"; python3 --version; } | hash)
  [ -e "$stamp" ] && return
  python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
  rm -rf target/venv
  mkdir -p target
  python3 -m venv target/venv
  target/venv/bin/pip install --quiet --disable-pip-version-check --requirement "$wants"
  touch "$stamp"
}

node() { # What example/hosts/javascript needs, in its node_modules
  local host=example/hosts/javascript stamp
  has npm || die "Node.js 20 or later, with npm, is missing"
  stamp=$host/node_modules/.made-from-$(hash <"$host/package-lock.json")
  [ -e "$stamp" ] && return
  (cd "$host" && npm ci --silent --no-audit --no-fund)
  touch "$stamp"
}

servers() { # Other versions of Redis, and Valkey: optional, says `skipped` itself
  tests/setup/servers.sh target/servers
}

clients() { # Client libraries of Redis Sentinel: optional, says `skipped` itself
  tests/setup/clients.sh target/clients
}

ruby() { # A client library of Redis Sentinel, and what reads the formula: optional, the test says which clients it has
  command ruby -e 'require "redis"' 2>/dev/null && return
  has apt-get || { echo "skipped: redis-rb: install Ruby and its gem redis with this system's package manager"; return; }
  install_packages ruby ruby-redis
}

registry() { # An OCI registry: optional, the tests that need one say so
  has docker-registry && return
  has apt-get || { echo "skipped: an OCI registry: install docker-registry with this system's package manager"; return; }
  install_packages docker-registry
  if [ -d /run/systemd/system ]; then as_root systemctl disable --quiet --now docker-registry || true; fi
}

cluster() { # A Kubernetes control plane, and what runs Pods as processes
  local missing=()
  if [ -n "${TEST_KUBECONFIG:-}" ]; then has kubectl || die "kubectl is missing, and TEST_KUBECONFIG names a cluster"; return; fi
  has bwrap || missing+=(bubblewrap)
  has ip || missing+=(iproute2)
  has nft || missing+=(nftables)
  if has_assets; then echo "the cluster's components are those of KUBEBUILDER_ASSETS"; else has etcd || missing+=(etcd-server); fi
  if [ ${#missing[@]} -gt 0 ]; then
    install_packages "${missing[@]}"
    if [[ " ${missing[*]} " = *" etcd-server "* ]] && [ -d /run/systemd/system ]; then as_root systemctl disable --quiet --now etcd || true; fi
  fi
  has_assets && return
  if [ -n "${control_plane:-}" ]; then
    grep building target/cluster/log || true
    wait "$control_plane" || { cat target/cluster/log >&2; exit 1; }
    grep -v building target/cluster/log || true
    control_plane=
  else
    tests/setup/cluster.sh target/cluster
  fi
}

image() { # What deploy/image.sh needs: the static C library, as Rust's target and for what is written in C
  local target missing=()
  target=$(uname -m)-unknown-linux-musl
  has musl-gcc || missing+=(musl-tools)
  has readelf || missing+=(binutils)
  [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
  [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
  [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || rustup target add "$target"
}

deny() { # cargo-deny, in target/tools
  has cargo-deny || [ -x target/tools/bin/cargo-deny ] && return
  echo "building cargo-deny, once: two minutes"
  # In a target directory of its own, so that its dependencies and ours do not replace one another.
  cargo install --locked --debug --root target/tools --target-dir target/tools/build --version "$CARGO_DENY" cargo-deny
  rm -rf target/tools/build
}

helm() { # The present line of Helm, built with the control plane: optional, says `skipped` itself
  tests/setup/cluster.sh target/cluster
}

helm3() { # The one before: the same
  tests/setup/tools.sh target/tools/bin helm3
}

validators() { # Who judges a release's files before others do: optional, says `skipped` itself
  tests/setup/tools.sh target/tools/bin validate-krew-manifest operator-verify
  promtool
}

promtool() { # Prometheus' own: from source it takes a quarter of an hour
  unpacked promtool prometheus usr/bin/promtool
}

exporter() { # redis_exporter, for its test against the Sentinel endpoint: optional, says `skipped` itself
  unpacked redis_exporter prometheus-redis-exporter usr/bin/prometheus-redis-exporter
}

unpacked() { # unpacked NAME PACKAGE FILE: a program out of Debian's package without installing it, as target/tools/bin/NAME
  [ -x "target/tools/bin/$1" ] && return
  has apt-get && has dpkg || { echo "skipped: $1: no apt-get and dpkg here"; return; }
  local folder=$PWD/target/tools/$2
  mkdir -p "$folder" target/tools/bin
  if (cd "$folder" && apt-get -qq -o APT::Sandbox::User=root download "$2" >/dev/null 2>&1 && dpkg -x "$2"_*.deb .); then
    mv "$folder/$3" "target/tools/bin/$1"
  else
    echo "skipped: $1: apt-get download $2 does not work here (apt-get update?)"
  fi
  rm -rf "$folder"
}

lua() { # What runs the scripts of Argo CD: optional, the tests that need it say so
  has lua5.1 && return
  has apt-get || { echo "skipped: Lua 5.1: install it with this system's package manager"; return; }
  install_packages lua5.1
}

sbom() { # cargo-cyclonedx, in target/tools
  has cargo-cyclonedx || [ -x target/tools/bin/cargo-cyclonedx ] && return
  echo "building cargo-cyclonedx, once: a minute"
  cargo install --locked --debug --root target/tools --target-dir target/tools/build --version "$CARGO_CYCLONEDX" cargo-cyclonedx
  rm -rf target/tools/build
}

has_assets() { # Whether a complete control plane is there already, as tests/src/cluster/programs.rs asks too
  local component
  for component in etcd kube-apiserver kube-controller-manager kube-scheduler kubectl; do
    [ -x "${KUBEBUILDER_ASSETS:-/nowhere}/$component" ] || return 1
  done
}

install_packages() {
  has apt-get || die "missing: $*. Install them with this system's package manager, then run this again"
  echo "installing $*"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "$@" >/dev/null
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; elif has sudo; then sudo "$@"; else die "must be root, or have sudo, for: $*"; fi
}

# A program, and no function of this script.
has() { type -P "$1" >/dev/null; }
hash() { git hash-object --stdin; }
die() { echo "setup: $*" >&2; exit 1; }

# The longest part goes on while others wait for the network. It says so when its turn comes.
if [[ " $* " = *" cluster "* && -z ${TEST_KUBECONFIG:-} ]] && ! has_assets && has go; then
  mkdir -p target/cluster
  setsid tests/setup/cluster.sh target/cluster >target/cluster/log 2>&1 &
  control_plane=$!
  # Whatever ends this ends it, too: a build that goes on alone would meet the next one.
  trap '[ -z "$control_plane" ] || kill -- "-$control_plane" 2>/dev/null || true' EXIT
fi

for part; do
  case $part in
    rust | redis | python | node | servers | ruby | clients | registry | cluster | image | deny | helm | helm3 | lua | validators | exporter | sbom) "$part" ;;
    *) die "no part is called $part" ;;
  esac
done
