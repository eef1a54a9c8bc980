//! Wraps the engine into the component that the operator embeds. Fails if that component has an import or is
//! too large.

use embedded_module::MODULE;
use std::env;
use std::path::Path;
use std::process::exit;

#[path = "../src/policy/wrap.rs"]
mod wrap;

/// Small enough to swap over a network; the engine fits, with standard library and parser. Topology
/// `sentinel` adds 45 KiB to what it shares with `replication`: the reading of its replies, its own rules,
/// and their sentences.
const COMPONENT_BYTES_MAX: usize = 320 * 1024;

fn main() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in ["build.rs", "../src/policy/wrap.rs"] {
        println!("cargo::rerun-if-changed={}", here.join(path).display());
    }
    if let Err(why) = embed_engine() {
        println!("cargo::error=the engine component was not embedded: {why}");
        exit(1);
    }
}

fn embed_engine() -> Result<(), String> {
    let component = wrap::wrap(MODULE)?;
    let imports = imports(&component)?;
    if !imports.is_empty() {
        return Err(format!("it must have no import, but imports {}", imports.join(", ")));
    }
    if component.len() > COMPONENT_BYTES_MAX {
        return Err(format!("it has {} bytes, but may have {COMPONENT_BYTES_MAX}", component.len()));
    }
    let out = env::var_os("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&out).join("core.component.wasm"), component).map_err(|error| error.to_string())
}

/// The names of a component's imports.
fn imports(component: &[u8]) -> Result<Vec<String>, String> {
    let decoded = wit_component::decode(component).map_err(|error| format!("{error:#}"))?;
    let wit_component::DecodedWasm::Component(resolve, world) = decoded else {
        return Err("it came out as a WIT package".into());
    };
    Ok(resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key)).collect())
}
