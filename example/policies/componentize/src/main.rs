//! `componentize MODULE.wasm COMPONENT.wasm`: what `cargo build` makes of a policy, wrapped into a component.
//! Owns the wrapping and the proof that nothing is imported; whether the policy is any good, `redis-operator policy check` tells.

use anyhow::{Context, bail, ensure};
use std::path::PathBuf;
use std::process::ExitCode;
use wit_component::{ComponentEncoder, DecodedWasm};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("componentize: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> anyhow::Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(Into::into).collect();
    let [source, target] = arguments.as_slice() else { bail!("usage: componentize MODULE.wasm COMPONENT.wasm") };
    let module = std::fs::read(source).with_context(|| source.display().to_string())?;
    let component = componentize(&module).with_context(|| source.display().to_string())?;
    std::fs::write(target, &component).with_context(|| target.display().to_string())?;
    println!("{}: {} bytes, no imports", target.display(), component.len());
    Ok(())
}

fn componentize(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    // A module header ends in the version, 1; a component's in the layer.
    ensure!(module.starts_with(b"\0asm\x01\0\0\0"), "not a core WebAssembly module; a component needs no wrapping");
    let component = ComponentEncoder::default()
        .module(module)
        .context("no description of the world in it; does it use wit_bindgen::generate! and export!?")?
        .validate(true)
        .encode()
        .context("no whole policy, or one that imports something")?;
    let DecodedWasm::Component(resolve, world) = wit_component::decode(&component)? else { bail!("a WIT package, not a component") };
    let world = &resolve.worlds[world];
    let imports: Vec<String> = world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
    let exports: Vec<String> = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    ensure!(imports.is_empty(), "a policy may import nothing; this one wants {}", imports.join(", "));
    ensure!(exports.iter().any(|name| name.starts_with(POLICY)), "it exports no {POLICY}…; it exports: {}", exports.join(", "));
    Ok(component)
}

/// The interface of `wit/failover.wit`, in any version.
const POLICY: &str = "redis-failover:policy/policy@";

#[cfg(test)]
mod tests {
    use super::componentize;

    /// That a policy is accepted, `make policies` shows.
    #[test]
    fn what_is_no_module_and_what_is_no_policy_is_refused() {
        for (bytes, why) in [
            (&b"text"[..], "not a core WebAssembly module"),
            (b"", "not a core WebAssembly module"),
            (b"\0asm\x0d\0\x01\0", "not a core WebAssembly module"),
            (b"\0asm\x01\0\0\0", "it exports no redis-failover:policy/policy@"),
            (b"\0asm\x01\0\0\0\xff", "no description of the world"),
        ] {
            let error = componentize(bytes).expect_err("it is refused").to_string();
            assert!(error.starts_with(why), "{error}");
        }
    }
}
