//! Builds the engine for WebAssembly and wraps it into the component that the operator embeds. Fails if that
//! component has an import or is too large. Embeds the scenarios too, so that every operator can check a
//! policy.

use std::env;
use std::path::{Path, PathBuf};
use std::process::exit;

#[path = "build/guest.rs"]
mod guest;

/// Small enough to swap over a network; the engine fits, with standard library and parser. Topology `sentinel`
/// adds 45 KiB to what it shares with `replication`: the reading of its replies, its own rules, and their
/// sentences.
const COMPONENT_BYTES_MAX: usize = 320 * 1024;

fn main() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("host/ lies in the workspace");
    for path in [
        "core/src",
        "core/Cargo.toml",
        "wit",
        "Cargo.toml",
        "Cargo.lock",
        "host/build",
        "host/src/policy/wrap.rs",
        SCENARIOS,
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for (what, embedded) in [
        ("engine component was", embed_engine(workspace, &out)),
        ("scenarios were", embed_scenarios(&workspace.join(SCENARIOS), &out)),
    ] {
        if let Err(why) = embedded {
            println!("cargo::error=the {what} not embedded: {why}");
            exit(1);
        }
    }
}

fn embed_engine(workspace: &Path, out: &Path) -> Result<(), String> {
    let component = guest::component("failover-core", workspace, out)?;
    let imports = imports(&component)?;
    if !imports.is_empty() {
        return Err(format!("it must have no import, but imports {}", imports.join(", ")));
    }
    if component.len() > COMPONENT_BYTES_MAX {
        return Err(format!("it has {} bytes, but may have {COMPONENT_BYTES_MAX}", component.len()));
    }
    std::fs::write(out.join("core.component.wasm"), component).map_err(|error| error.to_string())
}

/// The names of a component's imports.
fn imports(component: &[u8]) -> Result<Vec<String>, String> {
    let decoded = wit_component::decode(component).map_err(|error| format!("{error:#}"))?;
    let wit_component::DecodedWasm::Component(resolve, world) = decoded else {
        return Err("it came out as a WIT package".into());
    };
    Ok(resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key)).collect())
}

/// One line per file: its name, a tab, and its JSON.
fn embed_scenarios(folder: &Path, out: &Path) -> Result<(), String> {
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("{path}: {error}")
    };
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            let json = std::fs::read_to_string(&path).map_err(at(&path))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            lines.push(format!("{name}\t{}\n", one_line(&json)));
        }
    }
    lines.sort();
    std::fs::write(out.join("scenarios.txt"), lines.concat()).map_err(at(out))
}

/// JSON without the whitespace between its tokens, which is a third of the files.
fn one_line(json: &str) -> String {
    let (mut in_text, mut is_escaped) = (false, false);
    let is_kept = |letter: &char| {
        let kept = in_text || !letter.is_ascii_whitespace();
        in_text ^= *letter == '"' && !is_escaped;
        is_escaped = *letter == '\\' && !is_escaped;
        kept
    };
    json.chars().filter(is_kept).collect()
}

const SCENARIOS: &str = "tests/scenarios";
