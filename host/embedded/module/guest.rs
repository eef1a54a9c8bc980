//! Builds a crate of this workspace for WebAssembly. For two build scripts: that of the engine, and the
//! tests' for their own policies.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The module of `package`. `out` is the build script's own directory.
///
/// # Errors
/// One line with the way out; the compiler's messages are printed as warnings.
pub fn module(package: &str, workspace: &Path, out: &Path) -> Result<Vec<u8>, String> {
    let path = build(package, workspace, out)?;
    std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Runs cargo within cargo, with its own target directory, because the outer cargo holds the lock of the
/// usual one.
fn build(package: &str, workspace: &Path, out: &Path) -> Result<PathBuf, String> {
    // Beside the profiles, so that `cargo build`, `cargo clippy` and `cargo build --release` share one.
    let target_dir =
        out.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists()).unwrap_or(out).join("component");
    let mut cargo = Command::new(env::var_os("CARGO").ok_or("CARGO is not set")?);
    cargo.current_dir(workspace).args([
        "build",
        "--locked",
        "--package",
        package,
        "--lib",
        "--profile",
        "guest",
        "--target",
        TARGET,
    ]);
    cargo.arg("--target-dir").arg(&target_dir);
    for (name, _) in env::vars_os().filter(|(name, _)| is_of_the_outer_build(&name.to_string_lossy())) {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", guest_flags(workspace));
    let output = cargo.output().map_err(|error| format!("{}: {error}", cargo.get_program().display()))?;
    if !output.status.success() {
        return Err(explain(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(target_dir.join(TARGET).join("guest").join(package.replace('-', "_") + ".wasm"))
}

/// True for variables that cargo, clippy or the user set for the outer build and its target. Those about
/// registries and compilers are kept.
fn is_of_the_outer_build(name: &str) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_MAKEFLAGS",
        "CARGO_RESOLVER_",
    ];
    const DROPPED: [&str; 6] =
        ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTC_LINKER", "TARGET", "CLIPPY_ARGS"];
    DROPPED.contains(&name) || (name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept)))
}

/// 64 KiB of stack instead of 1 MiB halve the cost of a fresh instance (measured: 54 to 27 µs). Inlining and
/// unrolling make fast code large: with little of both, code optimised for speed has 3 KiB more than code
/// optimised for size, and takes three fifths of its time (measured: 68 to 42 µs for three members, each in a
/// fresh instance). The remapped paths make the component, and so its digest, equal on every machine.
fn guest_flags(workspace: &Path) -> OsString {
    let mut flags = OsString::from(
        "-Clink-arg=-zstack-size=65536\x1f-Cllvm-args=-inline-threshold=15 -unroll-threshold=0",
    );
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")));
    for (from, to) in [(Some(workspace.to_owned()), "/redis-operator"), (home, "/cargo")] {
        if let Some(from) = from {
            flags.push("\x1f--remap-path-prefix=");
            flags.push(from);
            flags.push(format!("={to}"));
        }
    }
    flags
}

/// One message for the build's error line, with the way out if it is known.
fn explain(stderr: &str) -> String {
    if stderr.contains("can't find crate for `core`") || stderr.contains("can't find crate for `std`") {
        return format!("the Rust target {TARGET} is missing; run `rustup target add {TARGET}`");
    }
    // A cargo directive ends at the end of a line.
    for line in stderr.lines() {
        eprintln!("{line}");
        println!("cargo::warning={line}");
    }
    "see the messages of its compiler above".into()
}

/// A target without an operating system: a policy cannot depend on what it cannot reach.
const TARGET: &str = "wasm32-unknown-unknown";
