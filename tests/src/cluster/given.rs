//! A cluster of the user's: what must hold in it before a test runs there.

use super::control_plane::client_of;
use super::kubectl::Kubectl;
use super::programs::{in_path, workspace};
use super::{Cluster, until};
use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::config::Kubeconfig;
use kube::{Api, ResourceExt};
use std::path::Path;
use std::time::Duration;

impl Cluster {
    /// The one of a kubeconfig, with these definitions in it. Its nodes and its network are not ours to
    /// break.
    ///
    /// # Errors
    /// When it cannot be used, with the way out.
    pub async fn given(kubeconfig: &Path, definitions: &[&str]) -> Result<Self> {
        let read = Kubeconfig::read_from(kubeconfig).with_context(|| kubeconfig.display().to_string())?;
        let ours = workspace().join("target/cluster/kubectl");
        let program =
            in_path("kubectl").or_else(|| ours.is_file().then_some(ours)).context("kubectl is missing")?;
        let kubectl = Kubectl { program, kubeconfig: kubeconfig.to_owned(), home: None };
        let cluster = Self { client: client_of(read).await?, kubectl, own: None };
        let operators = ListParams::default().labels("app.kubernetes.io/name=redis-operator");
        let operators = Api::<Pod>::all(cluster.client())
            .list(&operators)
            .await
            .with_context(|| kubeconfig.display().to_string())?;
        if let Some(pod) = operators.iter().next() {
            let namespace = pod.namespace().unwrap_or_default();
            bail!(
                "an operator runs in this cluster and would act beside the tested one: kubectl scale \
                 deployment redis-operator -n {namespace} --replicas 0"
            );
        }
        for definition in definitions {
            cluster
                .kubectl
                .run(&["apply", "--server-side", "--force-conflicts", "-f", "-"], definition)
                .await?;
        }
        cluster.reaches_pods().await?;
        Ok(cluster)
    }

    /// Tests dial Pods, as the operator that they start does.
    async fn reaches_pods(&self) -> Result<()> {
        self.create_namespace(REACHED).await;
        let pod = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: redis, namespace: {REACHED}}}\nspec: \
             {{containers: [{{name: redis, image: 'redis:7', args: [--protected-mode, 'no']}}]}}\n"
        );
        self.apply(&pod).await;
        self.pod_is_ready(REACHED, "redis").await;
        let address = until("its address", async || self.address(REACHED, "redis").await).await;
        let dialled = tokio::time::timeout(DIAL, pong(&address)).await;
        self.delete_namespace(REACHED).await;
        ensure!(
            matches!(dialled, Ok(Ok(_))),
            "Pods cannot be dialled from here ({address}): run this where they can be, as on one of the \
             nodes"
        );
        Ok(())
    }
}

/// Asked, too: some networks take connections to anywhere.
async fn pong(address: &str) -> redis::RedisResult<String> {
    let mut connection =
        redis::Client::open(format!("redis://{address}:6379/"))?.get_multiplexed_async_connection().await?;
    redis::cmd("PING").query_async(&mut connection).await
}

const REACHED: &str = "redis-operator-tests";
const DIAL: Duration = Duration::from_secs(5);
