//! House rules that no compiler checks: which room may use which, the length of files, and where certain
//! words may appear.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::path::{Path, PathBuf};

const LINES_MAX: usize = 520;
const COLUMNS_MAX: usize = 110;

/// A folder of the house, and the paths that its code must not name (ARCHITECTURE.md). Rooms keep apart: what
/// decides does no I/O, what does I/O decides nothing, and the guard shares no code with the engine.
const WALLS: &[(&str, &[&str])] = &[
    (
        "core/src",
        &[
            "std::time",
            "std::fs",
            "std::net::Tcp",
            "std::net::Udp",
            "std::net::ToSocketAddrs",
            "std::thread",
            "std::env",
            "std::process",
            "HashMap",
            "HashSet",
        ],
    ),
    (
        "core/src/facts",
        &[
            "crate::contract",
            "crate::observed",
            "crate::places",
            "crate::health",
            "crate::reason",
            "crate::rules",
            "crate::topology",
        ],
    ),
    // The bottom knows no topology: a second one is a folder and a line in lib.rs.
    ("core/src/observed.rs", ABOVE_THE_BOTTOM),
    ("core/src/places.rs", ABOVE_THE_BOTTOM),
    ("core/src/health.rs", ABOVE_THE_BOTTOM),
    ("core/src/reason.rs", ABOVE_THE_BOTTOM),
    ("core/src/rules.rs", ABOVE_THE_BOTTOM),
    (
        "host/src/contract.rs",
        &[
            "crate::group",
            "crate::guard",
            "crate::policy",
            "crate::redis",
            "crate::kubernetes",
            "crate::report",
            "tokio",
        ],
    ),
    (
        "host/src/group",
        &["crate::redis", "crate::kubernetes", "tokio", "std::time::SystemTime", "Instant::now", "std::net"],
    ),
    (
        "host/src/guard",
        &[
            "crate::group",
            "crate::policy",
            "crate::conformance",
            "crate::redis",
            "crate::kubernetes",
            "crate::report",
            "crate::local",
            "tokio",
            "failover_core::decide",
            "failover_core::reason",
        ],
    ),
    ("host/src/policy", &["crate::group", "crate::guard", "crate::redis", "crate::kubernetes"]),
    ("host/src/conformance", &["crate::group", "crate::redis", "crate::kubernetes"]),
    (
        "host/src/redis",
        &[
            "crate::group",
            "crate::guard",
            "crate::policy",
            "crate::kubernetes",
            "crate::report",
            "failover_core::decide",
        ],
    ),
    ("host/src/kubernetes", &["crate::guard", "crate::policy", "crate::redis", "failover_core::decide"]),
    // The controllers know no kind of resource: another one is a folder and a line in kinds/mod.rs.
    ("host/src/controller", &["crd::Redis", "RedisSpec", "RedisStatus", ", Redis}", "kinds::redis"]),
    (
        "host/src/registry",
        &[
            "crate::group",
            "crate::guard",
            "crate::policy",
            "crate::redis",
            "crate::kubernetes",
            "crate::report",
        ],
    ),
    ("host/src/report", &["crate::redis", "crate::kubernetes"]),
    ("host/src/driver", &["crate::kubernetes", "crate::guard"]),
];

/// Of the engine, what its bottom must not name.
const ABOVE_THE_BOTTOM: &[&str] = &["crate::topology"];

/// The rooms on top: no other room names them.
const ON_TOP: &[&str] = &["crate::driver", "crate::face", "crate::fleet", "crate::controller", "crate::cli"];
const BELOW: &[&str] = &[
    "contract.rs",
    "conformance",
    "group",
    "guard",
    "kubernetes",
    "policy",
    "redis",
    "registry",
    "report",
    "topology",
];

/// Of the engine, the guard and the link to Redis read facts and nothing else.
const DOORS: &[(&str, &str, &[&str])] = &[
    ("host/src/guard", "failover_core::", &["facts", "mutant"]),
    ("host/src/redis", "failover_core::", &["facts", "mutant"]),
    ("host/src/group", "crate::policy::", &["Policy", "{"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Rust file below, sorted, with its text. A room that is not built yet has none.
fn rust_files(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                files.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// Lines with their numbers, comments left out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.trim()))
        .filter(|(_, line)| !line.starts_with("//"))
}

/// The offences against the walls and doors, in one file.
fn trespasses(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let is_in = |room: &str| name == room || name.starts_with(&format!("{room}/"));
    let is_below = BELOW.iter().any(|room| is_in(&format!("host/src/{room}")));
    for (number, line) in code(text) {
        let walls = WALLS.iter().filter(|(room, _)| is_in(room)).flat_map(|(_, walls)| *walls);
        let walls = walls.chain(if is_below { ON_TOP } else { &[] });
        found.extend(
            walls.filter(|path| line.contains(**path)).map(|path| format!("{name}:{number} uses {path}")),
        );
        for (_, prefix, allowed) in DOORS.iter().filter(|(room, ..)| is_in(room)) {
            let paths = line.match_indices(prefix).map(|(at, _)| &line[at + prefix.len()..]);
            found.extend(
                paths
                    .filter(|path| !allowed.iter().any(|door| path.starts_with(door)))
                    .map(|path| format!("{name}:{number} uses {prefix}{path}")),
            );
        }
    }
    found
}

#[test]
fn rooms_keep_apart() {
    let files: Vec<_> = ["core/src", "host/src"].into_iter().flat_map(rust_files).collect();
    // The guard's own tests observe the model's servers, as all tests do; no product is built with mutants.
    let is_product = |name: &str| !name.contains("/tests/") && name != "core/src/mutant.rs";
    let files: Vec<_> = files.into_iter().filter(|(name, _)| is_product(name)).collect();
    assert!(files.len() > 20, "the house is not where this test looks for it");
    let found: Vec<_> = files.iter().flat_map(|(name, text)| trespasses(name, text)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_trespass_is_found() {
    assert_eq!(trespasses("core/src/health.rs", "use std::time::Instant;\n").len(), 1);
    assert_eq!(trespasses("core/src/rules.rs", "use crate::topology::Topology;\n").len(), 1);
    assert_eq!(trespasses("core/src/facts/info.rs", "use crate::health::Life;\n").len(), 1);
    assert_eq!(trespasses("host/src/guard/scene.rs", "use failover_core::decide;\n").len(), 2);
    assert_eq!(trespasses("host/src/redis/link.rs", "use crate::policy::Policy;\n").len(), 1);
    assert_eq!(trespasses("host/src/contract.rs", "use crate::controller::Context;\n").len(), 1);
    assert_eq!(trespasses("host/src/controller/mod.rs", "use crate::kubernetes::crd::Redis;\n").len(), 1);
    assert!(
        trespasses("host/src/guard/scene.rs", "use failover_core::facts::History;\n// std::time\n")
            .is_empty()
    );
    assert!(trespasses("host/src/redis/link.rs", "use std::time::Instant;\n").is_empty());
}

#[test]
fn no_file_is_longer_than_it_can_be_read() {
    let long: Vec<_> = ["core/src", "deploy", "host/src", "tests", "example"]
        .into_iter()
        .flat_map(rust_files)
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

/// What no container engine is there to try: the image's layout is tried by `make image-layout`, and is what
/// is copied and started.
#[test]
fn the_image_is_what_image_layout_makes_and_what_is_deployed() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let value = |path: &str, key: &str| {
        let text = read(path);
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(key))
            .unwrap_or_else(|| panic!("no {key} in {path}"));
        line.trim().trim_matches('"').to_owned()
    };
    let docker = "deploy/Dockerfile";
    assert!(
        value(docker, "RUN ").ends_with(" make image-layout")
            && read("Makefile").contains("\n\tCARGO='$(CARGO)' deploy/image.sh\n")
    );
    let (built, at) = (value("deploy/image.sh", "root="), value("deploy/image.sh", "program="));
    assert_eq!(value(docker, "COPY --from=build "), format!("/src/{built}/ /"));
    assert_eq!(value(docker, "ENTRYPOINT "), format!(r#"["{}"]"#, at.trim_start_matches("$root")));
    let (user, group) = (
        value("deploy/operator/deployment.yaml", "runAsUser:"),
        value("deploy/operator/deployment.yaml", "runAsGroup:"),
    );
    assert_eq!(value(docker, "USER "), format!("{user}:{group}"));
    let version = value("Cargo.toml", "version = ");
    assert_eq!(value("deploy/operator/deployment.yaml", "image:"), format!("redis-operator:{version}"));
    for kustomization in ["deploy/kustomization.yaml", "deploy/namespaced/kustomization.yaml"] {
        assert_eq!(value(kustomization, "newTag:"), version, "{kustomization}");
    }
    let compiler = value("rust-toolchain.toml", "channel = ");
    assert!(
        value(docker, "FROM ")
            .starts_with(&format!("rust:{}", compiler.trim_matches('"').rsplit_once('.').unwrap().0))
    );
}

/// One namespace or all of them: the operator needs the same there.
#[test]
fn the_rights_in_a_namespace_are_those_in_the_cluster() {
    let rules = |path: &str| {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let (_, rules) = text.split_once("\nrules:\n").unwrap_or_else(|| panic!("no rules in {path}"));
        rules.split_once("\n---\n").unwrap().0.to_owned()
    };
    let cluster = rules("deploy/cluster/groups.yaml");
    assert!(cluster.contains("resources: [statefulsets, deployments]"), "{cluster}");
    assert_eq!(rules("deploy/namespaced/role.yaml"), cluster);
}

/// Redis' old word for a replica is read in one place. Tests that speak with real servers, or write what they
/// say, use theirs. Directives have it too, the scripts of probes, and the words of Sentinel.
#[test]
fn the_old_word_stands_only_where_replies_are_read() {
    const SPEAK_IT: &[&str] = &[
        "core/src/facts/",
        "host/src/face/",
        "host/src/redis/",
        "host/src/topology/allowed.rs",
        "host/src/kubernetes/crd/",
        "host/src/kubernetes/objects/pod.rs",
        "host/src/kubernetes/objects/failover/",
    ];
    let speaks_it =
        |name: &str| name.contains("tests") || SPEAK_IT.iter().any(|place| name.starts_with(place));
    let found: Vec<_> = ["core/src", "host/src"]
        .into_iter()
        .flat_map(rust_files)
        .filter(|(name, _)| !speaks_it(name))
        .flat_map(|(name, text)| {
            let lines: Vec<_> = code(&text)
                .filter(|(_, line)| line.to_ascii_lowercase().contains("slave"))
                .map(|(number, _)| number)
                .collect();
            lines.into_iter().map(move |number| format!("{name}:{number}"))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_owns() {
    let found: Vec<_> = ["core/src", "deploy", "host/src", "tests"]
        .into_iter()
        .flat_map(rust_files)
        // A room of one line is not built yet.
        .filter(|(_, text)| {
            text.lines().nth(1).is_some()
                && !text.lines().next().is_some_and(|line| line.starts_with("//! ") && line.len() > 20)
        })
        .map(|(name, _)| name)
        .collect();
    assert!(found.is_empty(), "these files do not open with what they own: {found:?}");
}

/// Rustfmt breaks no line for the sake of a literal, and YAML or JSON in a test is read better unbroken.
#[test]
fn no_line_is_wider_than_a_page() {
    let files: Vec<_> =
        ["core", "deploy", "host", "tests", "example"].into_iter().flat_map(rust_files).collect();
    let is_wide = |line: &str| line.chars().count() > COLUMNS_MAX && !line.contains('"');
    let wide = files.iter().flat_map(|(name, text)| {
        let lines = text.lines().enumerate().filter(|(_, line)| is_wide(line));
        lines.map(move |(number, _)| format!("{name}:{}", number + 1))
    });
    let wide: Vec<_> = wide.collect();
    assert!(wide.is_empty(), "{} lines: {}", wide.len(), wide.join(" "));
}
