//! Policies into and out of a real OCI registry, by the program that its users have.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "registry/leaks.rs"]
mod leaks;

use redis_operator::policy::{EMBEDDED, digest_of};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use tests::policies::noted;
use tests::real::build_program;
use tests::registry::{PASSWORD, Registry, USER};

/// The program, with no login but what is in `docker_config`.
fn operator(docker_config: &Path, arguments: &[&str]) -> Output {
    command(docker_config, arguments).output().unwrap()
}

fn command(docker_config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(build_program());
    command.args(arguments).env("DOCKER_CONFIG", docker_config);
    for name in [
        "REDIS_OPERATOR_REGISTRY",
        "REDIS_OPERATOR_REGISTRY_USER",
        "REDIS_OPERATOR_REGISTRY_PASSWORD",
        "REDIS_OPERATOR_TOKEN_HOSTS",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    command
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The one line of what was wrong, and the exit code.
fn complaint(output: &Output) -> (i32, String) {
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.stdout.is_empty() && line.lines().count() == 1, "{line}");
    (output.status.code().unwrap(), line)
}

async fn or_skipped(closed: bool) -> Option<Registry> {
    if !Registry::is_possible() {
        println!("skipped: docker-registry is missing: tests/setup/setup.sh registry");
        return None;
    }
    Some(if closed { Registry::start_closed().await } else { Registry::start().await })
}

#[tokio::test]
async fn what_is_pushed_is_pulled_by_its_tag_and_by_its_digest() {
    let Some(registry) = or_skipped(false).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("mine.wasm"), noted(1)).unwrap();
    let tag = format!("{}/policies/mine:1.0.0", registry.address);
    let pushed = said(&operator(dir.path(), &["policy", "push", &path("mine.wasm"), &tag, "--plain-http"]));
    assert!(pushed.contains(&digest_of(&noted(1))), "{pushed}");
    let pinned = pushed.lines().last().unwrap().to_owned();
    assert!(pinned.contains("/policies/mine@sha256:"), "{pinned}");
    for (place, reference) in [("by-tag.wasm", &tag), ("by-digest.wasm", &pinned)] {
        said(&operator(dir.path(), &["policy", "pull", reference, "--output", &path(place), "--plain-http"]));
        assert_eq!(digest_of(&std::fs::read(path(place)).unwrap()), digest_of(&noted(1)));
    }
    // Again: the same artifact. Another component: the tag moves, the digest does not.
    assert_eq!(
        said(&operator(dir.path(), &["policy", "push", &path("mine.wasm"), &tag, "--plain-http"])),
        pushed
    );
    std::fs::write(path("mine.wasm"), noted(2)).unwrap();
    said(&operator(dir.path(), &["policy", "push", &path("mine.wasm"), &tag, "--plain-http"]));
    said(&operator(dir.path(), &["policy", "pull", &tag, "--output", &path("by-tag.wasm"), "--plain-http"]));
    said(&operator(
        dir.path(),
        &["policy", "pull", &pinned, "--output", &path("by-digest.wasm"), "--plain-http"],
    ));
    assert_eq!(
        (std::fs::read(path("by-tag.wasm")).unwrap(), std::fs::read(path("by-digest.wasm")).unwrap()),
        (noted(2), noted(1))
    );
}

#[tokio::test]
async fn the_artifact_has_the_layout_that_other_tools_read() {
    let Some(registry) = or_skipped(false).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.wasm");
    std::fs::write(&file, EMBEDDED).unwrap();
    let tag = format!("{}/mine:1", registry.address);
    said(&operator(dir.path(), &["policy", "push", file.to_str().unwrap(), &tag, "--plain-http"]));
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(&registry.address).unwrap();
        write!(
            stream,
            "GET /v2/mine/{path} HTTP/1.0\r\nAccept: application/vnd.oci.image.manifest.v1+json\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str::<Value>(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let manifest = ask("manifests/1");
    let (config, layer) = (&manifest["config"], &manifest["layers"][0]);
    assert_eq!(
        (&config["mediaType"], &layer["mediaType"]),
        (&json!("application/vnd.wasm.config.v0+json"), &json!("application/wasm"))
    );
    assert_eq!(
        (&layer["digest"], &layer["size"]),
        (&json!(format!("sha256:{}", digest_of(EMBEDDED))), &json!(EMBEDDED.len()))
    );
    let config = ask(&format!("blobs/{}", config["digest"].as_str().unwrap()));
    assert_eq!((&config["architecture"], &config["layerDigests"][0]), (&json!("wasm"), &layer["digest"]));
    assert!(config["component"]["exports"][0].as_str().unwrap().starts_with("redis-failover:policy/"));
}

#[tokio::test]
async fn a_closed_registry_wants_a_login_and_takes_docker_s_and_the_environment_s() {
    let Some(registry) = or_skipped(true).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.wasm");
    std::fs::write(&file, EMBEDDED).unwrap();
    let tag = format!("{}/mine:1", registry.address);
    let push = || {
        let mut command = command(dir.path(), &["policy", "push", file.to_str().unwrap(), &tag]);
        command.env("SSL_CERT_FILE", registry.authority()).output().unwrap()
    };
    let (code, line) = complaint(&push());
    assert!(code == 2 && line.contains("401") && line.contains("docker login"), "{line}");
    let login = json!({ "auths": { &registry.address: { "username": USER, "password": PASSWORD } } });
    std::fs::write(dir.path().join("config.json"), login.to_string()).unwrap();
    said(&push());
    let output = dir.path().join("pulled.wasm");
    let mut pull =
        command(Path::new("/nowhere"), &["policy", "pull", &tag, "--output", output.to_str().unwrap()]);
    pull.env("SSL_CERT_FILE", registry.authority());
    pull.env("REDIS_OPERATOR_REGISTRY_USER", USER).env("REDIS_OPERATOR_REGISTRY_PASSWORD", PASSWORD);
    let (code, line) = complaint(&pull.output().unwrap());
    assert!(code == 2 && line.contains("set it to the host of the registry"), "{line}");
    pull.env("REDIS_OPERATOR_REGISTRY", "ghcr.io");
    let (code, line) = complaint(&pull.output().unwrap());
    assert!(code == 2 && line.contains("401"), "the login of another registry: {line}");
    pull.env("REDIS_OPERATOR_REGISTRY", &registry.address);
    said(&pull.output().unwrap());
    assert_eq!(std::fs::read(&output).unwrap(), EMBEDDED);
    let (code, line) = complaint(&pull.env("REDIS_OPERATOR_REGISTRY_PASSWORD", "wrong").output().unwrap());
    assert!(code == 2 && line.contains("401") && !line.contains("wrong"), "{line}");
}

#[tokio::test]
async fn bad_input_is_one_line_with_the_way_out_and_leaves_no_file() {
    let Some(registry) = or_skipped(false).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("none.wasm"), "no wasm").unwrap();
    std::fs::write(path("mine.wasm"), EMBEDDED).unwrap();
    let tag = format!("{}/mine:1", registry.address);
    let digest = format!("{}/mine@sha256:{}", registry.address, "0".repeat(64));
    let (none, mine, output) = (path("none.wasm"), path("mine.wasm"), path("output.wasm"));
    for (arguments, words) in [
        (["policy", "push", &none, &tag, "--plain-http", "--log-format=text"], "not a WebAssembly component"),
        (
            ["policy", "push", "/nowhere.wasm", &tag, "--plain-http", "--log-format=text"],
            "/nowhere.wasm: No such file",
        ),
        (["policy", "push", &mine, "mine:1", "--plain-http", "--log-format=text"], "REGISTRY/REPOSITORY:TAG"),
        (["policy", "push", &mine, &digest, "--plain-http", "--log-format=text"], "no tag"),
        (["policy", "pull", &tag, "--output", &output, "--plain-http"], "not found"),
        (["policy", "pull", "localhost/Mine:1", "--output", &output, "--plain-http"], "lower-case"),
    ] {
        let (code, line) = complaint(&operator(dir.path(), &arguments));
        assert!(code == 2 && line.contains(words), "{arguments:?}: {line}");
    }
    let (code, line) = complaint(&operator(
        dir.path(),
        &["policy", "pull", "127.0.0.1:9/mine:1", "--output", &output, "--plain-http"],
    ));
    assert!(code == 1 && line.contains("127.0.0.1:9"), "{line}");
    let (code, line) = complaint(&operator(dir.path(), &["policy", "pull", &tag, "--output", &output]));
    assert!(code == 1 && line.contains("needs --plain-http"), "{line}");
    assert!(!Path::new(&output).exists());
}
