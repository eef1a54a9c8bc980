//! Builds the engine for WebAssembly and wraps it into the component that the operator embeds. Fails if that component is not
//! pure: it must import nothing, and be small.

use std::env;
use std::path::{Path, PathBuf};
use std::process::exit;

#[path = "build/guest.rs"]
mod guest;

/// A policy is swapped over networks and read by people: the engine fits, standard library and parser included.
const COMPONENT_BYTES_MAX: usize = 150 * 1024;

fn main() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("host/ lies in the workspace");
    for path in ["core/src", "core/Cargo.toml", "wit", "Cargo.toml", "Cargo.lock", "host/build", "host/src/policy/wrap.rs"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    if let Err(why) = embed(workspace) {
        println!("cargo::error=the engine component was not built: {why}");
        exit(1);
    }
}

fn embed(workspace: &Path) -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let component = guest::component("failover-core", workspace, &out)?;
    let imports = imports(&component)?;
    if !imports.is_empty() {
        return Err(format!("it must import nothing, and it imports {}", imports.join(", ")));
    }
    if component.len() > COMPONENT_BYTES_MAX {
        return Err(format!("it has {} bytes, and may have {COMPONENT_BYTES_MAX}", component.len()));
    }
    std::fs::write(out.join("core.component.wasm"), component).map_err(|error| error.to_string())
}

/// The names of what a component imports.
fn imports(component: &[u8]) -> Result<Vec<String>, String> {
    let decoded = wit_component::decode(component).map_err(|error| format!("{error:#}"))?;
    let wit_component::DecodedWasm::Component(resolve, world) = decoded else {
        return Err("it came out as a WIT package".into());
    };
    Ok(resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key)).collect())
}
