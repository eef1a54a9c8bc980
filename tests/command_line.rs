//! The command line, by running the program: what it prints, and its exit code. No server is touched.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests, with the steps that they share")]

use redis_operator::policy::{EMBEDDED, healthy_group};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Answer {
    code: i32,
    out: String,
    complaint: String,
}

/// Runs the program with this on its standard input, and with a cache of compiled policies that lasts for the
/// test run.
fn operator(arguments: &[&str], input: &str) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redis-operator"));
    command.args(arguments).env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR")).env_remove("RUST_LOG");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that refuses its arguments does not read its input.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Answer { code: output.status.code().unwrap(), out: text(output.stdout), complaint: text(output.stderr) }
}

/// Runs what must be refused, and returns the one line that it says.
fn complaint(arguments: &[&str], input: &str) -> String {
    let Answer { code, out, complaint } = operator(arguments, input);
    assert_eq!((code, out.as_str(), complaint.lines().count()), (2, "", 1), "{arguments:?}: {complaint}");
    complaint
}

fn file(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn observation() -> Value {
    serde_json::to_value(healthy_group(3)).unwrap()
}

#[test]
fn decide_takes_an_observation_a_recorded_line_and_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let recorded = json!({ "policy": "default 0.1.0", "observation": observation(), "decision": null })
        .to_string()
        + "\n";
    let recorded = file(dir.path(), "recorded.jsonl", recorded);
    let from_file = operator(&["policy", "decide", recorded.to_str().unwrap()], "");
    assert_eq!(from_file.code, 0, "{}", from_file.complaint);
    let decision: Value = serde_json::from_str(&from_file.out).unwrap();
    assert_eq!((&decision["verdict"], decision["members"].as_array().unwrap().len()), (&json!("Healthy"), 3));
    for arguments in [&["policy", "decide"][..], &["policy", "decide", "-"]] {
        assert_eq!(operator(arguments, &observation().to_string()).out, from_file.out);
    }
}

#[test]
fn bad_observations_are_named_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let unknown = json!({ "observation": observation(), "more": 1 });
    let mut misspelt = observation();
    misspelt["group"]["pausd"] = json!(true);
    for (content, why) in [
        ("{\"group\": ".to_owned(), "it is not one JSON value: EOF"),
        (String::new(), "it is empty"),
        ("[]".into(), "it is not an observation"),
        (misspelt.to_string(), "unknown field group.pausd"),
    ] {
        let path = file(dir.path(), "observation.json", &content);
        let said = complaint(&["policy", "decide", path.to_str().unwrap()], "");
        assert!(
            said.contains("observation.json: ")
                && said.contains(why)
                && said.contains("redis-operator observe"),
            "{said}"
        );
        assert!(complaint(&["policy", "decide"], &content).contains("standard input: "));
    }
    assert!(
        complaint(&["policy", "decide", "/nowhere/at/all.json"], "")
            .contains("/nowhere/at/all.json: No such file")
    );
    assert_eq!(operator(&["policy", "decide"], &unknown.to_string()).code, 0);
}

#[test]
fn bad_policies_are_named_with_the_way_out_by_every_command() {
    let dir = tempfile::tempdir().unwrap();
    // Components by hand: one that exports nothing, and one that imports a function `now`.
    let elsewhere = b"\0asm\x0d\0\x01\0".to_vec();
    let importing =
        [&elsewhere[..], &[7, 5, 1, 0x40, 0, 1, 0], &[10, 8], b"\x01\x00\x03now\x01\x00"].concat();
    let files = [
        (file(dir.path(), "text.wasm", "(component)"), "it is not a WebAssembly component"),
        (file(dir.path(), "core.wasm", b"\0asm\x01\0\0\0"), "redis-operator policy wrap"),
        (
            file(dir.path(), "elsewhere.wasm", &elsewhere),
            "it exports nothing, and a policy exports redis-failover:policy/policy@0.2.0",
        ),
        (file(dir.path(), "importing.wasm", importing), "it imports now, and a policy imports nothing"),
        (file(dir.path(), "cut.wasm", &EMBEDDED[..EMBEDDED.len() / 2]), "it is not a valid component"),
        (dir.path().join("missing.wasm"), "No such file"),
        (dir.path().to_owned(), "it is not a regular file"),
    ];
    for (path, why) in files {
        let path = path.to_str().unwrap();
        let commands = [
            &["policy", "inspect"][..],
            &["policy", "decide"],
            &["policy", "check"],
            &["policy", "bench"],
            &["static", "--redis", "127.0.0.1:1"],
        ];
        for command in commands {
            let said = complaint(&[command, &["--policy", path]].concat(), &observation().to_string());
            assert!(
                said.starts_with(&format!("error: policy {path}: ")) && said.contains(why),
                "{command:?}: {said}"
            );
        }
    }
}

#[test]
fn inspect_names_the_file_that_export_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("default.wasm");
    let path = path.to_str().unwrap();
    assert_eq!(operator(&["policy", "export", "--output", path], "").code, 0);
    assert_eq!(std::fs::read(path).unwrap(), EMBEDDED);
    let inspect = |arguments: &[&str]| {
        serde_json::from_str::<Value>(
            &operator(&[&["policy", "inspect", "--format", "json"], arguments].concat(), "").out,
        )
        .unwrap()
    };
    let (embedded, exported) = (inspect(&[]), inspect(&["--policy", path]));
    assert_eq!(embedded["digest"], exported["digest"]);
    assert_eq!((&embedded["file"], &exported["file"]), (&json!("embedded"), &json!(path)));
    assert_eq!((&embedded["size_bytes"], &embedded["imports"]), (&json!(EMBEDDED.len()), &json!([])));
}

#[test]
fn a_failed_check_shows_and_saves_what_decide_takes() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let saved = other.path().join("broken.json");
    // A scenario that no policy decides as written, so that a strict check fails.
    let scenario = |reason: &str| {
        let mut decision: Value =
            serde_json::from_str(&operator(&["policy", "decide"], &observation().to_string()).out).unwrap();
        decision["reason"] = json!(reason);
        json!({ "why": "because", "observation": observation(), "decision": decision }).to_string()
    };
    file(dir.path(), "the-reason-is-another.json", scenario("another"));
    let check = ["policy", "check", "--random", "5", "--scenarios", dir.path().to_str().unwrap()];
    let informed = operator(&check, "");
    assert_eq!(informed.code, 0, "{}{}", informed.out, informed.complaint);
    assert!(informed.complaint.is_empty(), "progress is for terminals");

    let strict = operator(&[&check[..], &["--strict", "--save", saved.to_str().unwrap()]].concat(), "");
    assert_eq!(strict.code, 1);
    assert!(
        strict.out.contains(
            "as-expected, first at the-reason-is-another: reason is \"healthy\", expected \"another\""
        ),
        "{}",
        strict.out
    );
    let decided = operator(&["policy", "decide", saved.to_str().unwrap()], "");
    assert_eq!(decided.code, 0, "{}", decided.complaint);

    let report: Value =
        serde_json::from_str(&operator(&[&check[..], &["--strict", "--format", "json"]].concat(), "").out)
            .unwrap();
    let row = report["report"]["rows"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["claim"] == "as-expected")
        .unwrap()
        .clone();
    assert_eq!(
        (&report["passed"], &row["failed"], &row["first"]["observation"]),
        (&json!(false), &json!(1), &observation())
    );
}

#[test]
fn under_the_plugins_name_it_is_the_plugin_and_without_a_cluster_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = dir.path().join("kubectl-redis");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_redis-operator"), &plugin).unwrap();
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .env("KUBECONFIG", "/nowhere/config")
            .env_remove("RUST_LOG")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    for command in [
        "status",
        "explain",
        "switchover",
        "pause",
        "resume",
        "observe",
        "logs",
        "report",
        "cli",
        "restart",
        "hibernate",
        "wake",
    ] {
        let (code, help, _) = run(&plugin, &[command, "--help"]);
        assert_eq!(code, Some(0));
        assert!(
            help.contains(&format!("Usage: kubectl redis {command} "))
                && help.contains(&format!("kubectl redis {command} ")),
            "{help}"
        );
        assert!(help.contains("Example"), "{help}");
    }
    let operator = Path::new(env!("CARGO_BIN_EXE_redis-operator"));
    for (program, arguments) in
        [(plugin.as_path(), &["observe", "cart"][..]), (operator, &["kubectl", "observe", "cart"])]
    {
        let (code, out, why) = run(program, arguments);
        assert_eq!((code, out.as_str(), why.lines().count()), (Some(2), "", 1), "{why}");
        assert!(why.starts_with("error: no cluster: ") && why.contains("--kubeconfig"), "{why}");
    }
}

#[test]
fn scenarios_that_cannot_be_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let check = |path: &Path| complaint(&["policy", "check", "--scenarios", path.to_str().unwrap()], "");
    assert!(check(dir.path()).contains("it holds no .json file"));
    assert!(check(Path::new("/nowhere")).contains("scenarios /nowhere: No such file"));
    file(dir.path(), "garbled.json", "{");
    assert!(check(dir.path()).contains("garbled is no scenario: EOF"));
}

#[test]
fn scenarios_are_written_in_full_and_decide_and_check_take_both_forms() {
    let dir = tempfile::tempdir().unwrap();
    let short = json!({ "why": "a master dies", "base": "healthy-3", "given": { "redis-1": "dead" },
        "expect": { "verdict": "Act", "reason": "another", "master": null } });
    let file = file(dir.path(), "a-master-dies.json", short.to_string());
    let file = file.to_str().unwrap();
    let expanded = operator(&["policy", "expand", file], "");
    assert_eq!(expanded.code, 0, "{}", expanded.complaint);
    assert_eq!(expanded.complaint, "a-master-dies: reason is \"master-dead\", expected \"another\"\n");
    let full: Value = serde_json::from_str(&expanded.out).unwrap();
    assert_eq!((&full["why"], &full["decision"]["reason"]), (&json!("a master dies"), &json!("master-dead")));

    let decided = operator(&["policy", "decide", file], "");
    assert_eq!(
        serde_json::from_str::<Value>(&decided.out).unwrap(),
        full["decision"],
        "{}",
        decided.complaint
    );

    let output = dir.path().join("full");
    let output = output.to_str().unwrap();
    let directory = operator(&["policy", "expand", dir.path().to_str().unwrap(), "--output", output], "");
    assert_eq!(directory.out, format!("{output}: 1 scenarios\n"), "{}", directory.complaint);
    let strict = ["policy", "check", "--random", "0", "--strict", "--scenarios"];
    assert_eq!(operator(&[&strict[..], &[output]].concat(), "").code, 0);
    assert_eq!(operator(&[&strict[..], &[file]].concat(), "").code, 1);
    assert!(complaint(&["policy", "expand", "/nowhere"], "").contains("scenarios /nowhere: No such file"));
}

#[test]
fn man_writes_a_page_for_each_command_and_the_plugin_answers_to_both_of_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man");
    assert_eq!(operator(&["man", pages.to_str().unwrap()], "").code, 0);
    for page in
        ["redis-operator", "redis-operator-run", "redis-operator-policy-check", "kubectl-redis-status"]
    {
        let text = std::fs::read_to_string(pages.join(page).with_extension("1")).unwrap();
        assert!(text.starts_with(".ie") && text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    let check = std::fs::read_to_string(pages.join("redis-operator-policy-check.1")).unwrap();
    assert!(check.contains("\\-\\-strict"), "{check}");
    let taken = file(dir.path(), "taken", "");
    assert!(operator(&["man", taken.to_str().unwrap()], "").complaint.contains("taken: "));

    for name in ["kubectl-redis", "kubectl-redis_failover"] {
        let plugin = dir.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_redis-operator"), &plugin).unwrap();
        let output = Command::new(&plugin).args(["status", "--help"]).output().unwrap();
        assert!(String::from_utf8(output.stdout).unwrap().contains("Usage: kubectl redis status"), "{name}");
    }
    let complete = dir.path().join("kubectl_complete-redis_failover");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_redis-operator"), &complete).unwrap();
    let output = Command::new(&complete).args(["sw"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "switchover\n:4\n");
}
