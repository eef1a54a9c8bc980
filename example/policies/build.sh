#!/usr/bin/env bash
# Builds policies as components into target/policies/: the engine as default.wasm, each policy of this folder under its own name.
#
#   build.sh [NAME…]      without names: all
set -euo pipefail
cd "$(dirname "$0")/../.."

build() { # NAME FOLDER: a crate to target/policies/NAME.wasm
  local package
  package=$(sed -n 's/^name = "\(.*\)"$/\1/p' "$2/Cargo.toml" | head -n 1)
  cargo build --locked --quiet --profile guest --target wasm32-unknown-unknown -p "$package"
  cargo run --locked --quiet -p componentize -- "target/wasm32-unknown-unknown/guest/${package//-/_}.wasm" "target/policies/$1.wasm"
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
  if [ "$name" = default ]; then build default core; else build "$name" "example/policies/$name"; fi
done
