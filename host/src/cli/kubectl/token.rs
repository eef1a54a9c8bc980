//! The token by which the operator learns who asks. The API server takes a caller's credentials out of what
//! it proxies to a Pod, so the plugin hands the token on in a header of its own, over TLS. A caller without a
//! token (a client certificate, or one who acts as another) gets one of the account that the operator's
//! manifests make for that, where the cluster permits it.

use super::cluster::sentence;
use hyper::header::AUTHORIZATION;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use tower::{BoxError, Layer, ServiceExt};

/// Who asks.
pub struct Caller {
    config: Config,
}

impl Caller {
    /// The user of a kubeconfig.
    pub fn of(config: &Config) -> Self {
        Self { config: config.clone() }
    }

    /// A token that shows who asks.
    ///
    /// # Errors
    /// One sentence with the way out.
    pub async fn token(&self, client: &Client, operator_namespace: &str) -> Result<String, String> {
        // Of one who acts as another, the token is still that of the one.
        if self.config.auth_info.impersonate.is_none()
            && let Some(token) = self.own().await?
        {
            return Ok(token);
        }
        lent(client, operator_namespace).await
    }

    /// The token that requests with this kubeconfig carry, wherever it comes from: its text, a file, a
    /// program. None: they carry none.
    async fn own(&self) -> Result<Option<String>, String> {
        let layer = self.config.auth_layer().map_err(|error| sentence(&error))?;
        let Some(layer) = layer else { return Ok(None) };
        // A request that goes nowhere, to see what the layer adds.
        let caught = tower::service_fn(async |request: hyper::Request<Body>| {
            let mut echo = hyper::Response::new(());
            echo.headers_mut().extend(request.headers().clone());
            Ok::<_, BoxError>(echo)
        });
        let echo = layer
            .layer(caught)
            .oneshot(hyper::Request::new(Body::empty()))
            .await
            .map_err(|error| format!("the kubeconfig gives no token: {error}"))?;
        let header = echo.headers().get(AUTHORIZATION);
        let token = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        Ok(token.map(str::to_owned))
    }
}

/// A token of the account for those who have none.
async fn lent(client: &Client, namespace: &str) -> Result<String, String> {
    let spec = TokenRequestSpec { expiration_seconds: Some(LENT_SECONDS), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let lent = accounts.create_token_request(ACCOUNT, &PostParams::default(), &request).await;
    let lent = lent.map_err(|error| {
        format!(
            "the kubeconfig has no token to show the operator who asks, and none of account \
             {namespace}/{ACCOUNT} is given: {}: use a kubeconfig with a token (kubectl create token), or \
             ask for the right to create serviceaccounts/token there",
            sentence(&error)
        )
    })?;
    lent.status
        .map(|status| status.token)
        .ok_or_else(|| format!("the API server gave no token of account {namespace}/{ACCOUNT}"))
}

/// The account whose tokens show those who have none of their own as somebody who may see all groups.
const ACCOUNT: &str = "redis-operator-ask";
/// The shortest that the API server permits.
const LENT_SECONDS: i64 = 600;

#[cfg(test)]
mod tests {
    use super::*;
    use kube::config::AuthInfo;

    #[tokio::test]
    async fn a_token_is_taken_from_wherever_the_kubeconfig_has_it() {
        let own = async |auth_info: AuthInfo| {
            let mut config = Config::new("https://localhost".parse().unwrap());
            config.auth_info = auth_info;
            Caller::of(&config).own().await.unwrap()
        };
        assert_eq!(own(AuthInfo::default()).await, None, "a certificate, or nothing");
        let text = AuthInfo { token: Some("abc".to_owned().into()), ..AuthInfo::default() };
        assert_eq!(own(text).await.as_deref(), Some("abc"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "def").unwrap();
        let path = file.path().display().to_string();
        let from_file = AuthInfo { token_file: Some(path), ..AuthInfo::default() };
        assert_eq!(own(from_file).await.as_deref(), Some("def"));
        let (username, password) = (Some("bob".to_owned()), Some("pass".to_owned().into()));
        assert_eq!(own(AuthInfo { username, password, ..AuthInfo::default() }).await, None, "a password");
    }
}
