//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler as processes, and their order. Knows no
//! Pod.

use super::kubectl::Kubectl;
use super::network::HOME;
use super::pki::Pki;
use super::programs::Programs;
use super::until;
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use std::path::{Path, PathBuf};
use tokio::process::Child;
use tokio::sync::Mutex;

/// The running processes. They end with it.
pub(super) struct ControlPlane {
    pub(super) client: Client,
    pub(super) pki: Pki,
    pub(super) kubectl: Kubectl,
    programs: Programs,
    dir: PathBuf,
    api_server: Mutex<Option<Child>>,
    controllers: Mutex<Vec<Child>>,
    _etcd: Child,
}

impl ControlPlane {
    /// Starts it, with logs and certificates below `dir`. The `first` documents are applied before any
    /// controller starts: the garbage collector learns of a later CRD only at its resync, up to 40 s on.
    pub(super) async fn start(programs: Programs, dir: &Path, first: &[String]) -> Result<Self> {
        let pki = Pki::create(&dir.join("pki"))?;
        let admin = pki.admin(&api_url())?;
        write_kubeconfig(&dir.join(ADMIN), &admin)?;
        let client = client_of(admin).await?;
        let kubectl = Kubectl {
            program: programs.path("kubectl"),
            kubeconfig: dir.join(ADMIN),
            home: Some(dir.to_owned()),
        };
        let etcd = programs.start("etcd", &ETCD, dir)?;
        let plane = Self {
            client,
            pki,
            kubectl,
            programs,
            dir: dir.to_owned(),
            api_server: Mutex::default(),
            controllers: Mutex::default(),
            _etcd: etcd,
        };
        plane.start_api_server().await?;
        for document in first {
            plane.kubectl.run(&["apply", "--server-side", "-f", "-"], document).await?;
        }
        if !first.is_empty() {
            // `kubectl wait` fails on a kind that has no conditions yet.
            let wait = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"];
            until("the kinds are established", async || plane.kubectl.run(&wait, "").await.ok()).await;
        }
        plane.start_controllers().await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(plane.client.clone(), "default");
        until("the controllers at work", async || accounts.get("default").await.ok()).await;
        Ok(plane)
    }

    /// Starts the API server and waits until it is ready.
    pub(super) async fn start_api_server(&self) -> Result<()> {
        let file = |name| self.pki.file(name).display().to_string();
        let audited = self.dir.join("audit-policy.yaml");
        std::fs::write(&audited, AUDIT_POLICY)?;
        let arguments = [
            "--etcd-servers=http://127.0.0.1:2379".into(),
            "--bind-address=0.0.0.0".into(),
            format!("--advertise-address={HOME}"),
            format!("--secure-port={API_PORT}"),
            format!("--tls-cert-file={}", file("apiserver.crt")),
            format!("--tls-private-key-file={}", file("apiserver.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--cert-dir={}", self.dir.join("pki").display()),
            "--authorization-mode=Node,RBAC".into(),
            // Some clusters have it on: what holds here holds there too.
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement".into(),
            format!("--audit-policy-file={}", audited.display()),
            format!("--audit-log-path={}", self.audit_log().display()),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            "--allow-privileged=true".into(),
            // Nodes have no names here.
            "--kubelet-preferred-address-types=InternalIP".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", file("sa.pub")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
        ];
        let mut running = self.api_server.lock().await;
        let api_server = running.insert(self.programs.start("kube-apiserver", &arguments, &self.dir)?);
        let answers = until("the API server answers", async || match api_server.try_wait() {
            Ok(None) => self.client.apiserver_version().await.ok().map(|_| true),
            Ok(Some(_)) | Err(_) => Some(false),
        });
        if !answers.await {
            bail!("kube-apiserver ended: {}", tail(&self.dir.join("kube-apiserver.log")));
        }
        until("the API server is ready", async || self.kubectl.run(&["get", "--raw=/readyz"], "").await.ok())
            .await;
        Ok(())
    }

    /// Kills the API server: it is gone when this returns. The controllers go with it, as those do that
    /// cannot renew their Leases.
    pub(super) async fn stop_api_server(&self) -> Result<()> {
        for mut controller in self.controllers.lock().await.drain(..) {
            controller.kill().await?;
        }
        let mut process = self.api_server.lock().await.take().context("the API server does not run")?;
        Ok(process.kill().await?)
    }

    /// Starts the controllers. They have no Leases, since they run once.
    pub(super) async fn start_controllers(&self) -> Result<()> {
        let kubeconfig = format!("--kubeconfig={}", self.dir.join(ADMIN).display());
        let mut alone = vec![
            kubeconfig,
            "--bind-address=127.0.0.1".into(),
            "--secure-port=0".into(),
            "--leader-elect=false".into(),
        ];
        // One test after the other leaves behind more than a quiet cluster does, and must not hold up the
        // next one.
        alone.extend(["--kube-api-qps=500".into(), "--kube-api-burst=1000".into()]);
        let manager = [
            format!("--service-account-private-key-file={}", self.pki.file("sa.key").display()),
            format!("--root-ca-file={}", self.pki.file("ca.crt").display()),
            // So that a lost node is found lost within a test's patience.
            "--node-monitor-period=1s".into(),
            "--node-monitor-grace-period=6s".into(),
        ];
        let mut controllers = self.controllers.lock().await;
        controllers.push(self.programs.start(
            "kube-controller-manager",
            &[&alone[..], &manager].concat(),
            &self.dir,
        )?);
        controllers.push(self.programs.start("kube-scheduler", &alone, &self.dir)?);
        Ok(())
    }

    /// Where the API server writes what service accounts ask for, one JSON object a line.
    pub(super) fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.log")
    }
}

/// The last lines of a log, which say why.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// Where the API is, inside.
pub(super) fn api_url() -> String {
    format!("https://{HOME}:{API_PORT}")
}

pub(super) fn write_kubeconfig(path: &Path, kubeconfig: &Kubeconfig) -> Result<()> {
    // JSON is YAML, and all that reads a kubeconfig reads it.
    Ok(std::fs::write(path, serde_json::to_vec_pretty(kubeconfig)?)?)
}

/// A client of the API.
pub(super) async fn client_of(kubeconfig: Kubeconfig) -> Result<Client> {
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // Else kube tries again by itself what was refused with 429, for minutes: an eviction that a budget
    // forbids.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

pub(super) const API_PORT: u16 = 6443;

/// Those that a test may have made; the controllers are of kube-system.
const AUDIT_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
    {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
    {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
    {"level": "None"}
]}"#;

const ADMIN: &str = "admin.kubeconfig";

/// Its data is on a file system in memory, so that its many fsyncs cost nothing.
const ETCD: [&str; 14] = [
    "--data-dir",
    "/run/etcd",
    "--listen-client-urls",
    "http://127.0.0.1:2379",
    "--advertise-client-urls",
    "http://127.0.0.1:2379",
    "--listen-peer-urls",
    "http://127.0.0.1:2380",
    "--initial-advertise-peer-urls",
    "http://127.0.0.1:2380",
    "--name",
    "tests",
    "--initial-cluster",
    "tests=http://127.0.0.1:2380",
];
