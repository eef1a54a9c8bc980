//! Redis that speaks TLS only: with clients, among its instances, and with the operator.

use super::rig::{Operator, another_master, example, pods, settled};
use k8s_openapi::api::core::v1::Pod;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use redis_operator::redis::{Endpoint, Tls, shows_ours};
use std::time::Duration;
use tests::cluster::{Cluster, Signal, until};

/// A certificate of an authority of its own, as cert-manager writes it.
struct Certified {
    ca: String,
    chain: String,
    key: String,
}

impl Certified {
    fn new(namespace: &str) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        // Another name than the certificate's, or it would count as self-signed.
        authority.distinguished_name.push(DnType::CommonName, "an authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let ca = authority.self_signed(&authority_key).unwrap().pem();
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec![name(namespace)]).unwrap();
        let chain = server.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap().pem();
        Self { ca, chain, key: key.serialize_pem() }
    }

    fn secret(&self, namespace: &str) -> String {
        let data = serde_json::json!({ "ca.crt": self.ca, "tls.crt": self.chain, "tls.key": self.key });
        let metadata = serde_json::json!({ "name": "certificate", "namespace": namespace });
        serde_json::json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data })
            .to_string()
    }

    /// Waits until every Pod shows it.
    async fn is_used(&self, cluster: &Cluster, namespace: &str) {
        let tls =
            Tls::from_pem(self.ca.as_bytes(), self.chain.as_bytes(), self.key.as_bytes(), &name(namespace))
                .unwrap();
        until("the new certificate shown by all", async || {
            for pod in PODS {
                let endpoint =
                    Endpoint { host: cluster.running(namespace, pod).address().to_string(), port: 6379 };
                shows_ours(&endpoint, &tls, Duration::from_secs(1)).await.ok().filter(|is_ours| *is_ours)?;
            }
            Some(())
        })
        .await;
    }
}

const PODS: [&str; 3] = ["redis-example-0", "redis-example-1", "redis-example-2"];

fn name(namespace: &str) -> String {
    format!("redis-example-master.{namespace}.svc")
}

/// Which start of which Pod runs.
async fn starts(cluster: &Cluster, namespace: &str) -> Vec<(Option<String>, i32)> {
    let of = |pod: &Pod| {
        let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        (
            pod.metadata.uid.clone(),
            containers.into_iter().flatten().map(|container| container.restart_count).sum(),
        )
    };
    pods(cluster, namespace).await.iter().map(of).collect()
}

async fn cli(cluster: &Cluster, namespace: &str, pod: &str, command: &str) -> bool {
    let script =
        format!("redis-cli --tls --cacert /tls/ca.crt --cert /tls/tls.crt --key /tls/tls.key {command}");
    cluster.running(namespace, pod).exec("redis", &["sh".into(), "-c".into(), script]).await
}

pub async fn with_tls_a_killed_master_is_replaced_and_a_new_authority_is_loaded_without_restart(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    let (first, second) = (Certified::new(namespace), Certified::new(namespace));
    cluster.apply(&first.secret(namespace)).await;
    cluster
        .apply(&example(namespace, 3, "  tls: {secretName: certificate, clientCertificates: true}\n"))
        .await;
    let master = settled(cluster, namespace, 3).await;
    assert!(cli(cluster, namespace, &master, "set lol woot | grep -q OK").await);
    until("both replicas have it", async || {
        for pod in PODS {
            cli(cluster, namespace, pod, "get lol | grep -q woot").await.then_some(())?;
        }
        Some(())
    })
    .await;
    assert!(
        !cluster
            .running(namespace, &master)
            .exec("redis", &["redis-cli".into(), "-e".into(), "ping".into()])
            .await,
        "in the clear"
    );
    first.is_used(cluster, namespace).await;
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    another_master(cluster, namespace, &master).await;
    let next = settled(cluster, namespace, 3).await;

    let before = starts(cluster, namespace).await;
    cluster.apply(&second.secret(namespace)).await;
    second.is_used(cluster, namespace).await;
    assert_eq!(
        (settled(cluster, namespace, 3).await, starts(cluster, namespace).await),
        (next.clone(), before)
    );
    cluster.running(namespace, &next).signal("redis", Signal::Kill);
    another_master(cluster, namespace, &next).await;
    let last = settled(cluster, namespace, 3).await;
    assert!(cli(cluster, namespace, &last, "get lol | grep -q woot").await);
}
