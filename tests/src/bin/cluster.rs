//! `make cluster`: the cluster of the tests to play with, the operator in it as `deploy/` has it, and kubectl
//! for it from any shell. Runs until Ctrl-C, and leaves nothing.

use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tests::cluster::{self, Cluster, HOME, Image, Settings};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let nodes = match std::env::args().nth(1) {
        None => Settings::default().nodes,
        Some(word) => {
            word.parse().with_context(|| format!("usage: cluster [NODES], and {word} is no number"))?
        }
    };
    Cluster::is_possible()?;
    let target = workspace().join("target/cluster");
    std::fs::create_dir_all(&target)?;
    // Kubernetes' usual port, if it is free.
    cluster::enter(|| {
        TcpListener::bind(("127.0.0.1", 6443)).or_else(|_| TcpListener::bind(("127.0.0.1", 0))).map(Some)
    })?;

    let lock = File::create(target.join("run.lock"))?;
    if lock.try_lock().is_err() {
        bail!("a cluster runs already");
    }
    let dir = target.join("run");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    let ended = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            ended = play(&dir, nodes) => ended,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    });
    match &ended {
        Ok(()) => std::fs::remove_dir_all(&dir)?,
        Err(_) => eprintln!("logs are in {}", dir.display()),
    }
    ended
}

async fn play(dir: &Path, nodes: usize) -> Result<()> {
    let handle = cluster::listener()?;
    let at = handle.local_addr()?;
    let deploy = workspace().join("deploy");
    let first = definitions(&Cluster::kustomize(&deploy).await?);
    let mut settings = Settings { nodes, first, ..Settings::default() };
    let operator = std::env::current_exe()?.with_file_name("redis-operator");
    ensure!(operator.is_file(), "{} is not built", operator.display());
    settings.images.push(Image::of_program("redis-operator", "/redis-operator", operator.clone()));
    let bin = dir.join("bin");
    std::fs::create_dir_all(&bin)?;
    std::os::unix::fs::symlink(operator, bin.join("kubectl-redis"))?;
    eprintln!("starting {nodes} nodes");
    let cluster = Cluster::start(dir, settings).await?;
    let kubeconfig = cluster.kubeconfig_at(at);
    print!(
        "{}",
        cluster
            .kubectl(&["apply", "--server-side", "--force-conflicts", "-k", &deploy.display().to_string()])
            .await?
    );
    print!(
        "{}",
        cluster
            .kubectl(&["-n", "redis-operator", "rollout", "status", "deployment", "--timeout=120s"])
            .await?
    );
    println!("\nThe cluster is up, until Ctrl-C. In another shell:\n");
    println!("  export KUBECONFIG={}", kubeconfig.display());
    println!("  export PATH={}:{}:$PATH", bin.display(), cluster.kubectl_dir().display());
    println!("  kubectl apply -f example/k8s_v1alpha1_redis_cr.yaml");
    println!("  kubectl get redis --watch");
    println!("  kubectl redis status example\n");
    println!("What containers print is in {}/pods, the control plane's logs beside it.", dir.display());
    if let Some(pid) = cluster::outside_pid() {
        println!("Pods are dialled from inside: nsenter --net --target {pid} redis-cli -h 10.77.0.10");
    }
    forward(handle).await
}

/// Carries what comes to the handle, which is of the outside's network, to the API server, for ever.
async fn forward(handle: TcpListener) -> Result<()> {
    handle.set_nonblocking(true)?;
    let handle = tokio::net::TcpListener::from_std(handle)?;
    loop {
        let (mut outer, _) = handle.accept().await?;
        tokio::spawn(async move {
            if let Ok(mut inner) = TcpStream::connect(SocketAddr::from((HOME, 6443))).await {
                // An end of either side is the end of both.
                let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            }
        });
    }
}

/// The CRDs among the documents.
fn definitions(yaml: &str) -> Vec<String> {
    let is_definition =
        |document: &&str| document.lines().any(|line| line == "kind: CustomResourceDefinition");
    yaml.split("\n---\n").filter(is_definition).map(str::to_owned).collect()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}
