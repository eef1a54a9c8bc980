#!/usr/bin/env bash
# Builds policies as components into target/policies/: default.wasm is the embedded policy, byte for byte, and each policy of
# this folder has its own name.
#
#   build.sh [NAME…]      all without a name
set -euo pipefail
cd "$(dirname "$0")/../.."

# As the Makefile builds it for everything else.
cargo build --locked --quiet -p redis-operator -p simulator --bin redis-operator
operator() {
  target/debug/redis-operator "$@"
}

build() { # NAME: a crate of this folder to target/policies/NAME.wasm
  local package
  package=$(sed -n 's/^name = "\(.*\)"$/\1/p' "example/policies/$1/Cargo.toml" | head -n 1)
  cargo build --locked --quiet --profile guest --target wasm32-unknown-unknown -p "$package"
  operator policy wrap "target/wasm32-unknown-unknown/guest/${package//-/_}.wasm" --output "target/policies/$1.wasm"
}

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
  names=(default)
  for manifest in example/policies/*/Cargo.toml; do
    if grep -q '"cdylib"' "$manifest"; then names+=("$(basename "$(dirname "$manifest")")"); fi
  done
fi
mkdir -p target/policies
for name in "${names[@]}"; do
  if [ "$name" = default ]; then operator policy export --output target/policies/default.wasm; else build "$name"; fi
done
