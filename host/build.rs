//! Embeds what every operator has in it beside its program: the compiled code of its own policy, so that it
//! decides within milliseconds of its start, and the scenarios, so that it can check any policy.

use std::env;
use std::path::{Path, PathBuf};
use std::process::exit;

use wasmtime::Engine;

#[path = "src/policy/configuration.rs"]
#[allow(dead_code, reason = "the operator has more than one engine")]
mod configuration;
#[path = "src/policy/proposals.rs"]
#[allow(dead_code, reason = "the component is checked by the operator's tests")]
mod proposals;

fn main() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("host/ lies in the workspace");
    for path in ["host/src/policy/configuration.rs", "host/src/policy/proposals.rs", SCENARIOS] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for (what, embedded) in [
        ("code of the embedded policy was", embed_code(&out)),
        ("scenarios were", embed_scenarios(&workspace.join(SCENARIOS), &out)),
    ] {
        if let Err(why) = embedded {
            println!("cargo::error=the {what} not embedded: {why}");
            exit(1);
        }
    }
}

/// The policy as machine code for every processor of the target's architecture, with the settings of the
/// operator's usual engine. Empty where there is no compiler for the target, or no room for such an engine:
/// then, as with other settings, the operator compiles it at its start.
fn embed_code(out: &Path) -> Result<(), String> {
    let mut config = configuration::pooled();
    let target = env::var("TARGET").map_err(|error| error.to_string())?;
    let engine = config.target(&target).and_then(|config| Engine::new(config));
    let code = match engine {
        Ok(engine) => {
            engine.precompile_component(embedded_policy::COMPONENT).map_err(|error| format!("{error:#}"))?
        }
        Err(why) => {
            println!("cargo::warning=the embedded policy is compiled at every start: {why:#}");
            Vec::new()
        }
    };
    std::fs::write(out.join("core.component.code"), code).map_err(|error| error.to_string())
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
