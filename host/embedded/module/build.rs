//! Builds the engine for WebAssembly.

use std::env;
use std::path::{Path, PathBuf};
use std::process::exit;

mod guest;

fn main() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = here.ancestors().nth(3).expect("host/embedded/module/ lies in the workspace");
    for path in ["core/src", "core/Cargo.toml", "wit", "Cargo.toml", "Cargo.lock", "host/embedded/module"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let built = guest::module("failover-core", workspace, &out)
        .and_then(|module| std::fs::write(out.join("core.wasm"), module).map_err(|error| error.to_string()));
    if let Err(why) = built {
        println!("cargo::error=the engine was not built for WebAssembly: {why}");
        exit(1);
    }
}
