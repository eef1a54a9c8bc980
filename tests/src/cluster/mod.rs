//! A real Kubernetes cluster on this machine, for tests and to play with: etcd, kube-apiserver,
//! kube-controller-manager and kube-scheduler as processes, and nodes that run each Pod's containers as
//! processes, with an address, network and file system of the Pod's own. Faults are real: signals, cut
//! networks, lost nodes, an API server that is away.
//!
//! Not there: Service addresses are not routed (dial Pods; [`HOME`] is the API), and names are in the hosts
//! files of Pods: of Pods with a subdomain, and of Services, each the address of one ready Pod, so ports are
//! not mapped; images are a table of programs ([`Image`]), users and resource limits of a container are
//! ignored, and there is no `kubectl exec`.
//!
//! Everything lives in namespaces of its own: call [`enter`] first.

#![allow(
    clippy::unwrap_used,
    reason = "the steps that tests share: a failure here is a failed test, at the line that says so"
)]

mod agent;
mod config;
mod control_plane;
mod given;
mod images;
mod inside;
mod kubectl;
mod kubelet;
mod network;
mod node;
mod pki;
mod pod;
mod programs;
mod service_names;

pub use images::Image;
pub use inside::{enter, listener, outside_pid};
pub use network::{Cut, HOME};
pub use redis_operator::local::Signal;

use agent::Agent;
use anyhow::{Result, ensure};
use control_plane::{ControlPlane, api_url, client_of, write_kubeconfig};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::{Api, Client};
use kubectl::Kubectl;
use network::Bridge;
use pod::Seat;
use programs::Programs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a cluster is to be like.
pub struct Settings {
    /// How many nodes, `node-0` first.
    pub nodes: usize,
    /// What can be pulled.
    pub images: Vec<Image>,
    /// YAML that is applied before any controller runs: the CRDs, or their objects are not garbage collected
    /// for up to 40 s.
    pub first: Vec<String>,
    /// The first wait of CrashLoopBackOff.
    pub back_off: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        // The first that matches.
        let images = Image::redis_8()
            .into_iter()
            .chain(Image::valkey())
            .chain([Image::redis(), Image::redis_exporter(), Image::busybox()])
            .collect();
        // The kubelet's back-off.
        Self { nodes: 3, images, first: Vec::new(), back_off: Duration::from_secs(10) }
    }
}

/// A running cluster. Dropping it ends all of it, unless it was given.
pub struct Cluster {
    client: Client,
    kubectl: Kubectl,
    /// None: a cluster that was given, which has no faults.
    own: Option<Own>,
}

/// What runs for a cluster of ours. Dropped in this order: Pods end before the API that they report to.
struct Own {
    agent: Agent,
    plane: ControlPlane,
    dir: PathBuf,
}

impl Cluster {
    /// Says whether this machine has the programs.
    ///
    /// # Errors
    /// With what is missing, and the way out.
    pub fn is_possible() -> Result<()> {
        Programs::find().map(drop)
    }

    /// Starts one, with all of its files below `dir`; ready for objects when this returns. One at a time in a
    /// process.
    ///
    /// # Errors
    /// When a part does not start; its log is in `dir`.
    pub async fn start(dir: &Path, settings: Settings) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let bridge = Bridge::create(settings.nodes)?;
        let plane = ControlPlane::start(Programs::find()?, dir, &settings.first).await?;
        let agent = Agent::start(plane.client.clone(), bridge, dir.to_owned(), settings).await?;
        Ok(Self {
            client: plane.client.clone(),
            kubectl: plane.kubectl.clone(),
            own: Some(Own { agent, plane, dir: dir.to_owned() }),
        })
    }

    /// A client with all rights.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The output of kubectl, with all rights.
    ///
    /// # Errors
    /// With what kubectl complains of.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl.run(arguments, "").await
    }

    /// What a folder's kustomization makes.
    ///
    /// # Errors
    /// With what kubectl complains of.
    pub async fn kustomize(folder: &Path) -> Result<String> {
        let output = tokio::process::Command::new(Programs::find()?.path("kubectl"))
            .arg("kustomize")
            .arg(folder)
            .output()
            .await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The folder with kubectl.
    pub fn kubectl_dir(&self) -> PathBuf {
        self.kubectl.program.parent().unwrap().to_owned()
    }

    /// A namespace where Pods can be made.
    pub async fn create_namespace(&self, name: &str) {
        self.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}")).await;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), name);
        until("its service account", async || accounts.get("default").await.ok()).await;
    }

    /// Has a namespace deleted with all that is in it, and waits for none of it.
    pub async fn delete_namespace(&self, name: &str) {
        self.kubectl(&["delete", "namespace", name, "--wait=false"]).await.unwrap();
    }

    /// Applies documents, by the server.
    pub async fn apply(&self, yaml: &str) {
        self.kubectl.run(&["apply", "--server-side", "--force-conflicts", "-f", "-"], yaml).await.unwrap();
    }

    /// A kubeconfig of an admin.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.kubectl.kubeconfig.clone()
    }

    /// An admin's kubeconfig for another address of the API.
    pub fn kubeconfig_at(&self, at: SocketAddr) -> PathBuf {
        let path = self.own().dir.join("kubeconfig");
        write_kubeconfig(&path, &self.own().plane.pki.admin(&format!("https://{at}")).unwrap()).unwrap();
        path
    }

    /// A kubeconfig of a service account, with just its rights: for programs outside of Pods.
    pub async fn account_kubeconfig(&self, namespace: &str, account: &str) -> PathBuf {
        let path = self.own().dir.join(format!("{namespace}_{account}.kubeconfig"));
        write_kubeconfig(
            &path,
            &self.own().plane.pki.bearer(&api_url(), &self.token(namespace, account).await).unwrap(),
        )
        .unwrap();
        path
    }

    /// What a service account has asked the API server for until now, as the audit log has it: allowed or
    /// not.
    pub fn asked_by(&self, namespace: &str, account: &str) -> Vec<serde_json::Value> {
        let log = std::fs::read_to_string(self.own().plane.audit_log()).unwrap_or_default();
        let user = format!("system:serviceaccount:{namespace}:{account}");
        // The last line may be half written.
        let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.filter(|line| line["user"]["username"] == user.as_str()).collect()
    }

    /// A client with just the rights of a service account.
    pub async fn account_client(&self, namespace: &str, account: &str) -> Client {
        let token = self.token(namespace, account).await;
        client_of(self.own().plane.pki.bearer(&api_url(), &token).unwrap()).await.unwrap()
    }

    async fn token(&self, namespace: &str, account: &str) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        pod::token_of(&accounts, account, None, None).await.unwrap()
    }

    /// The Pod of that name in the API. None: it does not exist.
    pub async fn pod(&self, namespace: &str, name: &str) -> Option<Pod> {
        Api::namespaced(self.client(), namespace).get_opt(name).await.unwrap()
    }

    /// Waits until a Pod is what is claimed of it.
    pub async fn pod_is(&self, namespace: &str, name: &str, what: &str, claim: impl Fn(&Pod) -> bool) -> Pod {
        let pods: Api<Pod> = Api::namespaced(self.client(), namespace);
        until(&format!("{namespace}/{name} {what}"), async || {
            pods.get_opt(name).await.ok().flatten().filter(&claim)
        })
        .await
    }

    /// Waits until a Pod is Ready.
    pub async fn pod_is_ready(&self, namespace: &str, name: &str) -> Pod {
        self.pod_is(namespace, name, "ready", is_ready).await
    }

    /// Where a Pod is dialled. None: nowhere, it does not run.
    pub async fn address(&self, namespace: &str, name: &str) -> Option<String> {
        if self.own.is_some() {
            // As it is, whatever the API knows of it by now.
            return self.runs(namespace, name).map(|running| running.address().to_string());
        }
        let pods: Api<Pod> = Api::namespaced(self.client(), namespace);
        pods.get_opt(name).await.ok().flatten()?.status?.pod_ip
    }

    /// The Pod that runs under that name, for faults.
    ///
    /// # Panics
    /// When none does.
    pub fn running(&self, namespace: &str, name: &str) -> Running {
        self.runs(namespace, name).unwrap_or_else(|| panic!("no Pod runs as {namespace}/{name}"))
    }

    /// The same. None: none does.
    pub fn runs(&self, namespace: &str, name: &str) -> Option<Running> {
        let seats = self.own().agent.shared.seats.lock().unwrap();
        seats.get(&(namespace.to_owned(), name.to_owned())).map(|seat| Running(Arc::clone(seat)))
    }

    /// Kills the API server, and with it the controllers.
    pub async fn stop_api_server(&self) {
        self.own().plane.stop_api_server().await.unwrap();
    }

    /// Starts them again; the API server is ready when this returns.
    pub async fn start_api_server(&self) {
        self.own().plane.start_api_server().await.unwrap();
        self.own().plane.start_controllers().await.unwrap();
    }

    /// Cuts a node off: its Pods keep running unreached, and its Lease is not renewed.
    pub fn lose_node(&self, name: &str) {
        self.set_found(name, false);
    }

    /// Puts a lost node back.
    pub fn find_node(&self, name: &str) {
        self.set_found(name, true);
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect(NOT_OURS)
    }

    fn set_found(&self, name: &str, found: bool) {
        let node = self.own().agent.node(name).unwrap();
        for seat in
            self.own().agent.shared.seats.lock().unwrap().values().filter(|seat| seat.node.name == name)
        {
            seat.network.plug(found).unwrap();
        }
        node.set_found(found);
    }
}

const NOT_OURS: &str = "this needs a cluster of ours, and one was given";

/// A Pod as it runs.
pub struct Running(Arc<Seat>);

impl Running {
    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.0.network.address()
    }

    /// Signals a container's first process.
    pub fn signal(&self, container: &str, signal: Signal) {
        self.0.signal(container, signal).unwrap();
    }

    /// Runs a command in a container: whether it exited with 0.
    pub async fn exec(&self, container: &str, words: &[String]) -> bool {
        self.0.exec(container, words).await.unwrap()
    }

    /// Adds a fault to its network, until it is healed.
    pub fn cut(&self, cut: Cut) {
        self.0.network.cut(cut).unwrap();
    }

    /// Takes back all faults of its network.
    pub fn heal(&self) {
        self.0.network.heal().unwrap();
    }

    /// Connects its network again, though its node stays lost.
    pub fn reconnect(&self) {
        self.0.network.plug(true).unwrap();
    }

    /// What a container has printed.
    pub fn log(&self, container: &str) -> String {
        std::fs::read_to_string(self.0.log(container)).unwrap_or_default()
    }
}

/// Whether a Pod has the condition Ready.
pub fn is_ready(pod: &Pod) -> bool {
    pod::holds(pod, "Ready")
}

/// Asks until `ask` gives something: what a cluster does may take longer than what Redis does.
///
/// # Panics
/// After four minutes, with what was waited for.
pub async fn until<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    until_at(Duration::from_millis(20), what, ask).await
}

/// The same, for what is dear to ask.
///
/// # Panics
/// As [`until`].
pub async fn until_at<T>(pace: Duration, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(240);
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        // The pace of asking, not a wait for time to pass.
        tokio::time::sleep(pace).await;
    }
}
