//! The cluster's certificates and keys, new for each cluster, and the kubeconfigs that use them. Knows no
//! process.

use anyhow::Result;
use kube::config::Kubeconfig;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// All certificates and keys.
pub(super) struct Pki {
    dir: PathBuf,
    authority_pem: String,
    admin_cert_pem: String,
    admin_key_pem: String,
}

impl Pki {
    /// Makes all of it, as files below `dir`: `ca.crt`, `apiserver.crt`, `apiserver.key`, `sa.key`, `sa.pub`.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the cluster of the tests");
        let authority_key = KeyPair::generate()?;
        let authority_pem = params.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(params, authority_key);
        let sign = |params: CertificateParams| -> Result<(String, String)> {
            let key = KeyPair::generate()?;
            Ok((params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
        };

        let mut server = CertificateParams::new(SERVED_AT.map(str::to_owned))?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (server_cert, server_key) = sign(server)?;

        let mut admin = CertificateParams::new(Vec::new())?;
        admin.distinguished_name.push(DnType::OrganizationName, "system:masters");
        admin.distinguished_name.push(DnType::CommonName, "admin");
        admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (admin_cert_pem, admin_key_pem) = sign(admin)?;

        let accounts = KeyPair::generate()?;
        let files = [
            ("ca.crt", &authority_pem),
            ("apiserver.crt", &server_cert),
            ("apiserver.key", &server_key),
            ("sa.key", &accounts.serialize_pem()),
            ("sa.pub", &accounts.public_key_pem()),
        ];
        for (name, text) in files {
            std::fs::write(dir.join(name), text)?;
        }
        Ok(Self { dir: dir.to_owned(), authority_pem, admin_cert_pem, admin_key_pem })
    }

    /// One of its files.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// May do anything, at this address of the API.
    pub(super) fn admin(&self, server: &str) -> Result<Kubeconfig> {
        self.kubeconfig(
            server,
            &json!({"client-certificate-data": base64(&self.admin_cert_pem),
            "client-key-data": base64(&self.admin_key_pem)}),
        )
    }

    /// The user of this token.
    pub(super) fn bearer(&self, server: &str, token: &str) -> Result<Kubeconfig> {
        self.kubeconfig(server, &json!({ "token": token }))
    }

    fn kubeconfig(&self, server: &str, user: &Value) -> Result<Kubeconfig> {
        Ok(serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": {"server": server,
                "certificate-authority-data": base64(&self.authority_pem)}}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "user"}}],
            "current-context": "tests",
        }))?)
    }
}

/// Every name that the API is called by: from outside, on the bridge, and by its Service.
const SERVED_AT: [&str; 4] = ["127.0.0.1", "10.77.0.1", "10.96.0.1", "kubernetes.default.svc"];

/// A `ByteString` knows how to be base64.
fn base64(text: &str) -> Value {
    json!(k8s_openapi::ByteString(text.as_bytes().to_vec()))
}
