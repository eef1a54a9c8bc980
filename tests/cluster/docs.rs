//! The commands on the pages of the documentation that need a cluster: each page in a namespace of its own,
//! from top to bottom, with the operator as `deploy/` installs it.

use super::deployed::{deploy, of_the_clone};
use futures_util::StreamExt;
use package::book::{BOOK, fences};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tests::cluster::Cluster;
use tests::real::build_program;
use tokio::process::Command;

/// A page, and its blocks as one script.
struct Script {
    page: String,
    namespace: String,
    text: String,
}

/// The pages with blocks that are marked `cluster`. Runbooks are about one group, which is there.
fn scripts() -> Vec<Script> {
    let (mut scripts, mut folders) = (Vec::new(), vec![of_the_clone(BOOK)]);
    let mut runbooks =
        Script { page: RUNBOOKS.into(), namespace: "docs-runbooks".into(), text: GROUP.into() };
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text: String = fences(&std::fs::read_to_string(&path).unwrap())
                .into_iter()
                .filter(|fence| fence.language == "sh" && fence.words == ["cluster"])
                .map(|fence| fence.content)
                .collect();
            let page = path.strip_prefix(of_the_clone(BOOK)).unwrap().display().to_string();
            let namespace = format!("docs-{}", path.file_stem().unwrap().to_string_lossy().to_lowercase());
            if page.starts_with(RUNBOOKS) {
                runbooks.text += &text.replace("NAMESPACE", &runbooks.namespace).replace("NAME", "minimal");
            } else if !text.is_empty() {
                scripts.push(Script { page, namespace, text });
            }
        }
    }
    scripts.push(runbooks);
    scripts
}

/// The program under the names by which pages call it, and kubectl.
fn programs(cluster: &Cluster, dir: &Path) -> String {
    for name in ["redis-operator", "kubectl-redis"] {
        std::os::unix::fs::symlink(build_program(), dir.join(name)).unwrap();
    }
    let others = std::env::var("PATH").unwrap();
    format!("{}:{}:{others}", dir.display(), cluster.kubectl_dir().display())
}

/// A kubeconfig whose commands are about that namespace.
async fn kubeconfig(cluster: &Cluster, dir: &Path, namespace: &str) -> PathBuf {
    let path = dir.join(namespace);
    std::fs::copy(cluster.admin_kubeconfig(), &path).unwrap();
    let config = format!("--kubeconfig={}", path.display());
    let namespace = format!("--namespace={namespace}");
    cluster.kubectl(&["config", "set-context", "--current", &namespace, &config]).await.unwrap();
    path
}

pub async fn the_commands_of_the_pages_run(cluster: &Cluster, _namespace: &str) {
    deploy(cluster).await;
    let dir = tempfile::tempdir().unwrap();
    let path = programs(cluster, dir.path());
    let scripts = scripts();
    assert!(scripts.len() > 5, "{} pages", scripts.len());
    let run = futures_util::stream::iter(&scripts).map(async |Script { page, namespace, text }| {
        cluster.create_namespace(namespace).await;
        let output = Command::new("bash")
            .args(["-euxo", "pipefail", "-c", text.as_str()])
            .current_dir(of_the_clone("."))
            .env("PATH", &path)
            .env("KUBECONFIG", kubeconfig(cluster, dir.path(), namespace).await)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let all = "redis,redisfailovers.databases.spotahome.com";
        cluster.kubectl(&["delete", all, "--all", "-n", namespace]).await.unwrap();
        (!output.status.success()).then(|| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            format!("{page}:\n{}{}", text(&output.stdout), text(&output.stderr))
        })
    });
    let failed: Vec<String> = run.buffer_unordered(AT_ONCE).filter_map(async |failed| failed).collect().await;
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Each block of YAML on a page that is whole resources of the operator's.
pub fn resources_of_the_pages() -> Vec<String> {
    let folders = ["", "tasks", "moving"].map(|folder| of_the_clone(BOOK).join(folder));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let files = files.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let blocks = files.flat_map(|file| fences(&std::fs::read_to_string(file).unwrap()));
    let whole = blocks.filter(|block| block.language == "yaml" && block.words.is_empty());
    let resources: Vec<String> = whole.map(|block| block.content).collect();
    assert!(resources.len() > 3);
    resources
}

const RUNBOOKS: &str = "runbooks/";
const GROUP: &str = "kubectl apply -f example/redis/minimal.yaml\n\
                     kubectl wait --for=condition=Ready redis/minimal --timeout=120s\n";
/// Pages at a time.
const AT_ONCE: usize = 4;
