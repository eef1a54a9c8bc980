//! Builds the policies that only tests load: the hostile one, and the example.

use std::env;
use std::path::{Path, PathBuf};

#[path = "../host/embedded/module/guest.rs"]
mod guest;
#[path = "../host/src/policy/wrap.rs"]
mod wrap;

fn main() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
    for path in [
        "tests/guests",
        "example/policies/classic",
        "wit",
        "Cargo.toml",
        "Cargo.lock",
        "host/embedded/module/guest.rs",
        "host/src/policy/wrap.rs",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    build("hostile-policy", workspace);
    build("classic-policy", workspace);
}

fn build(package: &str, workspace: &Path) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let component = guest::module(package, workspace, &out).and_then(|module| wrap::wrap(&module));
    let component = component.unwrap_or_else(|why| panic!("{package}: {why}"));
    std::fs::write(out.join(package).with_extension("wasm"), component).expect("the directory is ours");
}
