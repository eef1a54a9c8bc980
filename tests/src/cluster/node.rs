//! A node: its object, its Lease and Ready condition as a kubelet keeps them, and whether it is lost. Runs no
//! Pod.

use super::kubelet;
use super::network::node_address;
use anyhow::Result;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::sync::watch;

/// One node.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    place: usize,
    found: watch::Sender<bool>,
}

impl Node {
    /// `node-<place>`, not lost.
    pub(super) fn new(place: usize) -> Self {
        Self {
            name: format!("node-{place}"),
            address: node_address(place),
            place,
            found: watch::Sender::new(true),
        }
    }

    /// Cuts the node off from the API server, or connects it again.
    pub(super) fn set_found(&self, found: bool) {
        self.found.send_replace(found);
    }

    /// Returns once the node is not lost.
    pub(super) async fn is_found(&self) {
        let _ = self.found.subscribe().wait_for(|found| *found).await;
    }

    /// Creates the object.
    pub(super) async fn register(&self, client: &Client) -> Result<()> {
        let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": {
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "topology.kubernetes.io/zone": format!("zone-{}", self.place % ZONES),
        }}});
        Api::<core::Node>::all(client.clone()).patch(&self.name, &applied(), &Patch::Apply(&object)).await?;
        self.tell_status(client).await
    }

    /// Renews Lease and status for ever, except while the node is lost. A failed renewal is retried with the
    /// next one.
    pub(super) async fn beat(&self, client: &Client) {
        let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
        loop {
            self.is_found().await;
            let spec = json!({"holderIdentity": self.name, "leaseDurationSeconds": 40,
                "renewTime": format!("{:.6}", Timestamp::now())});
            let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": self.name}, "spec": spec});
            let _ = leases.patch(&self.name, &applied(), &Patch::Apply(&lease)).await;
            let _ = self.tell_status(client).await;
            tokio::time::sleep(BEAT).await;
        }
    }

    async fn tell_status(&self, client: &Client) -> Result<()> {
        let now = Time(Timestamp::now());
        let condition = |type_: &str, status: &str, reason: &str| {
            json!({"type": type_, "status": status,
            "reason": reason, "lastHeartbeatTime": now})
        };
        let room = json!({"cpu": "64", "memory": "256Gi", "pods": "250", "ephemeral-storage": "256Gi"});
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": self.address}, {"type": "Hostname",
                "address": self.name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet::PORT}},
            "capacity": room,
            "allocatable": room,
            "conditions": [
                condition("Ready", "True", "KubeletReady"),
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID"),
            ],
            "nodeInfo": {
                "architecture": "", "bootID": "", "containerRuntimeVersion": "process://1",
                    "kernelVersion": "", "kubeProxyVersion": "",
                "kubeletVersion": "v1.36.3", "machineID": "", "operatingSystem": "linux",
                    "osImage": "processes of one machine", "systemUUID": "",
            },
        }});
        Api::<core::Node>::all(client.clone())
            .patch_status(&self.name, &PatchParams::default(), &Patch::Strategic(&status))
            .await?;
        Ok(())
    }
}

fn applied() -> PatchParams {
    PatchParams::apply("node-agent").force()
}

/// A sixth of the grace that the controllers are started with.
const BEAT: Duration = Duration::from_secs(1);

const ZONES: usize = 3;
