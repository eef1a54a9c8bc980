//! Redis that speaks TLS only: with clients, among its instances, and with the operator.

use super::rig::{Operator, another_master, example, settled};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tests::cluster::{Cluster, Signal, until};

/// A Secret as cert-manager writes it.
fn secret(namespace: &str) -> String {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    // Other than the certificate's, or it would be taken for one that signed itself.
    authority.distinguished_name.push(DnType::CommonName, "an authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let ca = authority.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec![format!("redis-example-master.{namespace}.svc")]).unwrap();
    let certificate = server.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap().pem();
    let data = serde_json::json!({ "ca.crt": ca, "tls.crt": certificate, "tls.key": key.serialize_pem() });
    let metadata = serde_json::json!({ "name": "certificate", "namespace": namespace });
    serde_json::json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data }).to_string()
}

async fn cli(cluster: &Cluster, namespace: &str, pod: &str, command: &str) -> bool {
    let script = format!("redis-cli --tls --cacert /tls/ca.crt --cert /tls/tls.crt --key /tls/tls.key {command}");
    cluster.running(namespace, pod).exec("redis", &["sh".into(), "-c".into(), script]).await
}

pub async fn with_tls_a_killed_master_is_replaced_and_a_new_certificate_is_rolled_out(cluster: &mut Cluster, namespace: &str) {
    let _operator = Operator::start(cluster, namespace);
    cluster.apply(&secret(namespace)).await;
    cluster.apply(&example(namespace, 3, "  tls: {secretName: certificate, clientCertificates: true}\n")).await;
    let master = settled(cluster, namespace, 3).await;
    assert!(cli(cluster, namespace, &master, "set lol woot | grep -q OK").await);
    until("both replicas have it", async || {
        for pod in ["redis-example-0", "redis-example-1", "redis-example-2"] {
            cli(cluster, namespace, pod, "get lol | grep -q woot").await.then_some(())?;
        }
        Some(())
    })
    .await;
    assert!(!cluster.running(namespace, &master).exec("redis", &["redis-cli".into(), "-e".into(), "ping".into()]).await, "in the clear");
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    another_master(cluster, namespace, &master).await;
    let next = settled(cluster, namespace, 3).await;
    let before = cluster.pod(namespace, &next).await.unwrap().metadata.uid;
    cluster.apply(&secret(namespace)).await;
    until("another Pod for the master, too", async || cluster.pod(namespace, &next).await.filter(|pod| pod.metadata.uid != before).map(drop)).await;
    let last = settled(cluster, namespace, 3).await;
    assert!(cli(cluster, namespace, &last, "get lol | grep -q woot").await);
}
