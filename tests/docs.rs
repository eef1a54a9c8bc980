//! The commands on the pages of the documentation: each block says by a mark whether it runs, the program
//! accepts what is written, and blocks that need servers alone run here. Those of a cluster run in
//! `cluster/docs.rs`.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use clap::CommandFactory;
use package::book::{BOOK, Fence, commands, fences};
use redis_operator::cli::{Cli, Exit, parse};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tests::real::{AS_MASTER, Servers, build_program};
use tokio::process::Command;

/// Beside the book: pages that send a reader there, and those of single folders.
const OTHERS: &[&str] = &[
    "README.md",
    "CONTRIBUTING.md",
    "deploy/README.md",
    "deploy/chart/README.md",
    "deploy/chart-redis/README.md",
    "example/policies/classic/README.md",
    "example/redisfailover/README.md",
];
/// Those of [`OTHERS`] whose blocks have marks.
const MARKED: &[&str] = &["README.md", "CONTRIBUTING.md"];
/// What may stand after `sh`; `deploy/docs/src/README.md` says what each means.
const MARKS: &[&[&str]] = &[&[], &["cluster"], &["not-run"]];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The pages of the book, sorted, with their texts.
fn book() -> Vec<(String, String)> {
    let (mut pages, mut folders) = (Vec::new(), vec![root().join(BOOK)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                pages.push((name, std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    pages.sort();
    assert!(pages.len() > 40, "the book is not where this test looks for it");
    pages
}

fn blocks(page: &str) -> impl Iterator<Item = Fence> {
    fences(page).into_iter().filter(|fence| fence.language == "sh")
}

fn is_marked(fence: &Fence, mark: &[&str]) -> bool {
    fence.words.iter().map(String::as_str).eq(mark.iter().copied())
}

#[test]
fn each_block_of_commands_is_marked_and_its_commands_are_accepted() {
    let others = OTHERS.iter().map(|name| ((*name).to_owned(), read(name)));
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (name, page) in book().into_iter().chain(others) {
        let is_strict = name.starts_with(BOOK) || MARKED.contains(&name.as_str());
        for fence in blocks(&page) {
            let at = format!("{name}:{}", fence.line);
            if is_strict && !MARKS.iter().any(|mark| is_marked(&fence, mark)) {
                wrong.push(format!("{at}: {:?} is no mark", fence.words));
            }
            for command in commands(&fence.content) {
                count += 1;
                wrong.extend(complaints(&command).into_iter().map(|why| format!("{at}: {command}: {why}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 80, "{count} commands");
}

/// What is wrong with a line, as far as that can be seen without running it.
fn complaints(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for words in pipeline(line) {
        let parsed = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["redis-operator", ..] => parse(words.iter().map(OsString::from)),
            ["kubectl", "redis", ref rest @ ..] => {
                parse(["kubectl-redis"].iter().chain(rest).map(OsString::from))
            }
            ["make", target, ..] if !read("Makefile").contains(&format!("\n{target}:")) => {
                Err(Exit::Input(format!("the Makefile has no target {target}")))
            }
            _ => Err(Exit::Done),
        };
        if let Err(Exit::Input(why) | Exit::Failed(why)) = parsed {
            found.push(why);
        }
        for word in &words {
            let is_of_the_clone = word == "deploy"
                || ["deploy/", "example/", "tests/", "wit/"].iter().any(|top| word.starts_with(top));
            if is_of_the_clone && !root().join(word).exists() {
                found.push(format!("{word} does not exist"));
            }
        }
        let packages =
            words.iter().zip(words.iter().skip(1)).filter(|(flag, _)| words[0] == "cargo" && *flag == "-p");
        for (_, package) in packages {
            if !read("Cargo.lock").contains(&format!("\nname = \"{package}\"\n")) {
                found.push(format!("no package is called {package}"));
            }
        }
    }
    found
}

/// The words of each command of a pipeline, as a shell splits them; what a shell would put in stays as it is.
fn pipeline(line: &str) -> Vec<Vec<String>> {
    let (mut all, mut words, mut word) = (Vec::new(), Vec::new(), String::new());
    let mut quote = None;
    for letter in line.chars() {
        match (letter, quote) {
            (_, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => quote = Some(letter),
            (' ' | '|' | ';' | '&', None) => {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
                if letter != ' ' && !words.is_empty() {
                    all.push(std::mem::take(&mut words));
                }
            }
            _ => word.push(letter),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    all.extend((!words.is_empty()).then_some(words));
    all
}

#[test]
fn what_the_program_or_the_clone_does_not_have_is_found() {
    for (line, why) in [
        ("redis-operator static --redis a:1 --onec", "'--onec'"),
        ("redis-operator observe --redis a:1 | redis-operator policy decid -", "'decid'"),
        ("kubectl redis swichover cart", "'swichover'"),
        ("kubectl apply -f example/redis/maximal.yaml", "example/redis/maximal.yaml does not exist"),
        ("make damo", "no target damo"),
        ("cargo run -p pakage -- generate", "no package is called pakage"),
    ] {
        let found = complaints(line).join("\n");
        assert!(found.contains(why), "{line}: {found}");
    }
    for line in [
        "redis-operator static --redis a:1 --parameters '{\"discard\": [\"a|b\"]}'",
        "kubectl redis switchover cart --to redis-cart-2 && make demo",
        "helm install my-redis deploy/chart-redis --wait",
    ] {
        assert_eq!(complaints(line), [""; 0], "{line}");
    }
}

/// `UPDATE_DOCS=1` writes the list anew.
#[test]
fn the_verbs_of_the_plugin_are_those_of_the_program() {
    const BEGIN: &str = "<!-- verbs:";
    const END: &str = "<!-- /verbs -->";
    let name = format!("{BOOK}tasks/kubectl.md");
    let page = read(&name);
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (line, rest) = rest.split_once('\n').unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let program = Cli::command();
    let plugin = program.find_subcommand("kubectl").unwrap();
    let mut table = String::from("\n| verb | does |\n|--|--|\n");
    for verb in plugin.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        table += &format!("| `kubectl redis {}` | {} |\n", verb.get_name(), verb.get_about().unwrap());
    }
    let wanted = format!("{before}{BEGIN}{line}\n{table}\n{END}{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root().join(&name), &wanted).unwrap();
    }
    assert_eq!(read(&name), wanted, "set UPDATE_DOCS=1 to write it anew");
}

/// As they are registered: a family without series prints nothing.
fn metrics() -> BTreeSet<String> {
    let source = read("host/src/report/metrics.rs");
    let calls = source.split(".register").skip(1).filter_map(|call| {
        let (call, _) = call.split_once(");")?;
        let name = call.split('"').nth(1)?;
        let unit = ["Bytes", "Seconds"].into_iter().find(|unit| call.contains(&format!("Unit::{unit}")));
        Some(format!(
            "redis_operator_{name}{}",
            unit.map(|unit| format!("_{}", unit.to_lowercase())).unwrap_or_default()
        ))
    });
    calls.filter(|name| !name.ends_with('_')).collect()
}

#[test]
fn the_metrics_on_the_pages_are_those_of_the_program() {
    const THEIRS: &[&str] = &["redis_operator_controller_", "redis_operator_cluster_masters"];
    let names = metrics();
    assert!(names.len() > 15, "{names:?}");
    let is_one = |word: &str| {
        let parts = ["", "_total", "_info", "_bucket", "_sum", "_count"];
        parts.iter().any(|part| word.strip_suffix(part).is_some_and(|name| names.contains(name)))
    };
    let mut missing = names.clone();
    for (name, page) in book() {
        let words = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("redis_operator_")) {
            let is_theirs = THEIRS.iter().any(|theirs| word.starts_with(theirs));
            assert!(is_theirs || is_one(word), "{name}: no metric is called {word}");
            if name.ends_with("tasks/monitoring.md") {
                missing.retain(|metric| {
                    word.strip_prefix(metric.as_str())
                        .is_none_or(|rest| !matches!(rest, "" | "_total" | "_info"))
                });
            }
        }
    }
    assert!(missing.is_empty(), "tasks/monitoring.md lacks {missing:?}");
}

/// A folder that looks like a clone, in which a page may leave files.
fn clone_of_ours() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["deploy", "example", "tests", "wit"] {
        std::os::unix::fs::symlink(root().join(folder), dir.path().join(folder)).unwrap();
    }
    std::fs::create_dir(dir.path().join("bin")).unwrap();
    std::os::unix::fs::symlink(build_program(), dir.path().join("bin/redis-operator")).unwrap();
    dir
}

#[tokio::test]
async fn blocks_that_need_servers_alone_run() {
    let mut count = 0;
    for (name, page) in book() {
        let blocks: Vec<Fence> = blocks(&page).filter(|fence| is_marked(fence, &[])).collect();
        if blocks.is_empty() {
            continue;
        }
        let (servers, dir) = (Servers::idle(4, &AS_MASTER).await, clone_of_ours());
        let path = format!("{}:{}", dir.path().join("bin").display(), std::env::var("PATH").unwrap());
        for fence in blocks {
            for command in commands(&fence.content) {
                let real = (1..5).fold(command.clone(), |text, last| {
                    let (written, id) = (format!("10.0.0.{last}"), servers.id(last - 1));
                    let text = text.replace(&format!("{written}:6379"), &id);
                    text.replace(&format!("{written} 6379"), &id.replace(':', " "))
                });
                assert!(
                    !real.contains("10.0.0."),
                    "{name}:{}: {command}: has addresses that nothing answers at",
                    fence.line
                );
                let output = Command::new("bash")
                    .args(["-euo", "pipefail", "-c", &real])
                    .current_dir(dir.path())
                    .env("PATH", &path)
                    .env("XDG_CACHE_HOME", dir.path())
                    .env_remove("RUST_LOG")
                    .kill_on_drop(true)
                    .output()
                    .await
                    .unwrap();
                // One pass of `static` says by its code what it did.
                let is_pass = command.contains("--once") || command.contains("--dry-run");
                let code = output.status.code().unwrap();
                assert!(
                    code == 0 || is_pass && matches!(code, 10 | 11),
                    "{name}:{}: {command}: exit code {code}\n{}{}",
                    fence.line,
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                );
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count} commands");
}
