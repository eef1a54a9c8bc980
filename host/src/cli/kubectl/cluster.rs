//! The cluster of a kubeconfig: its resources and, through the API server's Pod proxy, the operator's view of
//! a group. Every failure is one sentence that names the missing right, or what to check. How the operator
//! learns who asks: `token.rs`.

use super::Exit;
use super::group::Group;
use super::token::Caller;
use crate::contract::{Decision, Observation};
use crate::kubernetes::crd::{Redis, parse};
use crate::kubernetes::kinds::{KINDS, Kind, Resource};
use crate::kubernetes::pods::is_of_sentinels;
use crate::report::{ANSWERED_BY, PROXIED_AUTHORIZATION};
use http_body_util::BodyExt;
use hyper::StatusCode;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// The cluster, and the operator in it.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Namespace of the resource [default: the context's]
    #[arg(short, long, global = true, value_name = "NAME")]
    namespace: Option<String>,
    /// Context of the kubeconfig [default: the current one]
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig [default: KUBECONFIG, or ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of the operator's Lease and Pods
    #[arg(long, global = true, default_value = "redis-operator", value_name = "NAME")]
    operator_namespace: String,
    /// Name of the operator's Lease
    #[arg(long, global = true, default_value = "redis-operator", value_name = "NAME")]
    operator_lease: String,
    /// Port at which the operator shows groups (its --listen-groups)
    #[arg(long, global = true, default_value_t = 8081, value_name = "PORT")]
    operator_port: u16,
}

/// A connected cluster.
pub struct Cluster {
    pub(super) client: Client,
    /// The cluster as kubectl is told of it.
    pub(super) kubectl_options: Vec<String>,
    /// Namespace of the resources.
    pub namespace: String,
    pub(super) operator_namespace: String,
    pub(super) operator_lease: String,
    operator_port: u16,
    caller: Caller,
}

/// The operator's view of a group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct View {
    /// Age of the decision.
    pub age_ms: u64,
    /// SHA-256 of the policy that decided.
    pub policy: String,
    /// The Observation.
    pub observation: Observation,
    /// The policy's decision.
    pub decision: Decision,
    /// The operator's Pod.
    #[serde(default)]
    pub operator: String,
}

impl Options {
    /// Reads the kubeconfig, without a request to the cluster.
    ///
    /// # Errors
    /// [`Exit::Input`] if the kubeconfig names no cluster.
    pub async fn connect(&self) -> Result<Cluster, Exit> {
        let no_cluster = |error: &dyn std::fmt::Display| {
            Exit::Input(format!("no cluster: {error}: set KUBECONFIG or --kubeconfig, and --context"))
        };
        let mut config = if self.kubeconfig.is_none() && self.context.is_none() {
            Config::infer().await.map_err(|error| no_cluster(&error))?
        } else {
            let kubeconfig = self
                .kubeconfig
                .as_ref()
                .map_or_else(Kubeconfig::read, Kubeconfig::read_from)
                .map_err(|error| no_cluster(&error))?;
            let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| no_cluster(&error))?
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.default_retry = false;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let caller = Caller::of(&config);
        let client = Client::try_from(config).map_err(|error| no_cluster(&error))?;
        let option = |name: &str, value: Option<String>| value.map(|value| format!("--{name}={value}"));
        let kubeconfig = self.kubeconfig.as_ref().map(|path| path.display().to_string());
        let kubectl_options =
            [option("kubeconfig", kubeconfig), option("context", self.context.clone())].into_iter().flatten();
        Ok(Cluster {
            client,
            kubectl_options: kubectl_options.collect(),
            caller,
            namespace,
            operator_namespace: self.operator_namespace.clone(),
            operator_lease: self.operator_lease.clone(),
            operator_port: self.operator_port,
        })
    }
}

impl Cluster {
    /// For requests to the API server.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The group with that name: of several kinds the oldest, which is the one that is served.
    ///
    /// # Errors
    /// [`Exit`] if there is none, or reading it is not permitted.
    pub async fn group(&self, name: &str) -> Result<Group, Exit> {
        let (mut found, mut refusal) = (Vec::new(), None);
        for kind in &KINDS {
            match self.all_in(Some(&self.namespace), &kind.api()).get_opt(name).await {
                Ok(object) => found.extend(object.map(|object| (kind, object))),
                Err(error) => refusal = refusal.or(Some(refused(&verb("get", &kind.api()), &error))),
            }
        }
        let created = |object: &DynamicObject| object.creation_timestamp().map(|at| at.0);
        match found.into_iter().min_by_key(|(_, object)| created(object)) {
            Some((kind, object)) => Group::of(kind, object),
            None => Err(refusal.unwrap_or_else(|| {
                Exit::Input(format!(
                    "no Redis or RedisFailover {name} in namespace {}: kubectl redis status -A lists all",
                    self.namespace
                ))
            })),
        }
    }

    /// All groups of the namespace, or of all namespaces, without those of an unknown schema.
    ///
    /// # Errors
    /// [`Exit`] if reading those of kind Redis is not permitted. Those of other kinds are left out then.
    pub async fn groups(&self, everywhere: bool) -> Result<Vec<Group>, Exit> {
        let namespace = Some(self.namespace.as_str()).filter(|_| !everywhere);
        let mut all = Vec::new();
        for (turn, kind) in KINDS.iter().enumerate() {
            match self.all_in(namespace, &kind.api()).list(&ListParams::default()).await {
                Ok(list) => all.extend(list.items.into_iter().filter_map(|one| Group::of(kind, one).ok())),
                Err(error) if turn == 0 => return Err(refused(&verb("list", &kind.api()), &error)),
                Err(_) => {}
            }
        }
        Ok(all)
    }

    /// The Redis with that name, for verbs that know this kind alone.
    ///
    /// # Errors
    /// [`Exit`] if there is none, or reading it is not permitted.
    pub async fn redis(&self, name: &str) -> Result<Redis, Exit> {
        let group = self.group(name).await?;
        let kind = &group.resource.api.kind;
        if !REDIS.is_of(&group.resource) {
            return Err(Exit::Input(format!("{name} is a {kind}, and this verb is for a Redis alone")));
        }
        let found = self.all_in(Some(&self.namespace), &REDIS.api()).get(name).await;
        parsed(found.map_err(|error| refused(&verb("get", &REDIS.api()), &error))?)
    }

    /// Changes the spec of a Redis, and returns the result.
    ///
    /// # Errors
    /// [`Exit`] if the change is not permitted, or not valid.
    pub async fn change(&self, name: &str, spec: Value) -> Result<Redis, Exit> {
        parsed(self.patch(&REDIS.api(), name, spec).await?)
    }

    /// The same of a group.
    ///
    /// # Errors
    /// As [`Self::change`].
    pub async fn change_group(&self, group: &Group, spec: Value) -> Result<Group, Exit> {
        let Resource { api, kind, .. } = &group.resource;
        Group::of(kind, self.patch(api, &group.resource.name(), spec).await?)
    }

    async fn patch(&self, api: &ApiResource, name: &str, spec: Value) -> Result<DynamicObject, Exit> {
        let patch = Patch::Merge(serde_json::json!({ "spec": spec }));
        let params = PatchParams { field_manager: Some("kubectl-redis".into()), ..PatchParams::default() };
        let changed = self.all_in(Some(&self.namespace), api).patch(name, &params, &patch).await;
        changed.map_err(|error| refused(&verb("patch", api), &error))
    }

    /// The Pods of a group. Empty if listing them is not permitted: their columns stay empty, too.
    pub async fn pods(&self, resource: &Resource) -> Vec<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &resource.namespace());
        let family = resource.settings.family;
        let ours = ListParams::default().labels(&format!("{}={}", family.label, resource.name()));
        let all = pods.list(&ours).await.map_or_else(|_| Vec::new(), |list| list.items);
        // Its Sentinels have the same label.
        all.into_iter().filter(|pod| !is_of_sentinels(pod)).collect()
    }

    /// The group as the operator with authority sees it.
    ///
    /// # Errors
    /// Why there is no view: one sentence.
    pub async fn view(&self, namespace: &str, name: &str) -> Result<View, String> {
        let operator = self.leader().await?;
        let (port, theirs) = (self.operator_port, &self.operator_namespace);
        let token = self.caller.token(&self.client, theirs).await?;
        let path = format!(
            "/api/v1/namespaces/{theirs}/pods/https:{operator}:{port}/proxy/groups/{namespace}/{name}"
        );
        let request = hyper::Request::get(path)
            .header(PROXIED_AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::empty())
            .map_err(|error| error.to_string())?;
        let response = self
            .client
            .send(request)
            .await
            .map_err(|error| no_answer(&operator, theirs, &sentence(&error)))?;
        let (status, is_theirs) = (response.status(), response.headers().contains_key(ANSWERED_BY));
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| no_answer(&operator, theirs, &sentence(&error)))?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        if !is_theirs || status != StatusCode::OK {
            return Err(refusal(status, is_theirs, &text, &operator, theirs));
        }
        let view: View = serde_json::from_str(&text)
            .map_err(|error| format!("Pod {operator} of namespace {theirs} runs another version: {error}"))?;
        Ok(View { operator, ..view })
    }

    /// The Pod that holds the Lease.
    ///
    /// # Errors
    /// Why there is none: one sentence.
    pub(super) async fn leader(&self) -> Result<String, String> {
        let (theirs, lease) = (&self.operator_namespace, &self.operator_lease);
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), theirs);
        let found = leases.get_opt(lease).await.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 403 => {
                format!(
                    "the right to get leases.coordination.k8s.io in namespace {theirs} is missing: {}",
                    status.message
                )
            }
            _ => format!("lease {theirs}/{lease}: {}", sentence(&error)),
        })?;
        let found = found.ok_or_else(|| {
            format!(
                "no operator has a Lease {lease} in namespace {theirs}: see --operator-namespace and \
                 --operator-lease"
            )
        })?;
        let holder = found.spec.and_then(|spec| spec.holder_identity).filter(|holder| !holder.is_empty());
        holder.ok_or_else(|| {
            format!("no operator holds the Lease {theirs}/{lease}: none runs, or none has acquired it yet")
        })
    }

    fn all_in(&self, namespace: Option<&str>, api: &ApiResource) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, api),
            None => Api::all_with(self.client.clone(), api),
        }
    }
}

/// What a right is called: `get redis.k8s.amaiz.com`.
fn verb(verb: &str, api: &ApiResource) -> String {
    format!("{verb} {}.{}", api.plural, api.group)
}

fn parsed(object: DynamicObject) -> Result<Redis, Exit> {
    let object = serde_json::to_value(object).map_err(|error| error.to_string());
    object
        .and_then(parse)
        .map_err(|error| Exit::Failed(format!("the resource is of another version: {error}")))
}

/// Why there is no view, by the answer to the request for it. `is_theirs`: the operator has answered, and not
/// the API server in its place.
fn refusal(status: StatusCode, is_theirs: bool, text: &str, operator: &str, theirs: &str) -> String {
    // The operator says what is wrong, and the way out.
    if is_theirs {
        return text.trim().to_owned();
    }
    let message = serde_json::from_str::<Value>(text).ok();
    let message = message.as_ref().and_then(|status| status["message"].as_str()).unwrap_or(text).trim();
    match status {
        StatusCode::FORBIDDEN => {
            format!("the right to get pods/proxy in namespace {theirs} is missing: {message}")
        }
        StatusCode::NOT_FOUND => {
            format!("Pod {operator} of namespace {theirs} does not exist: see --operator-namespace")
        }
        _ => no_answer(operator, theirs, &message),
    }
}

fn no_answer(operator: &str, theirs: &str, why: &dyn std::fmt::Display) -> String {
    format!(
        "Pod {operator} of namespace {theirs} does not answer: {why}: it needs --listen-groups; see \
         --operator-port"
    )
}

/// The API server's answer to a refused request.
pub(super) fn refused(verb: &str, error: &kube::Error) -> Exit {
    Exit::Failed(match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!("the right to {verb} is missing: {}", status.message)
        }
        kube::Error::Api(status) if status.code == 401 => {
            "the API server does not accept the credentials: renew those of the kubeconfig".into()
        }
        kube::Error::Api(status) if status.code == 404 => {
            format!("{}: install the definitions with kubectl apply -k deploy", status.message)
        }
        kube::Error::Api(status) => status.message.clone(),
        _ => format!("the API server does not answer: {}", sentence(error)),
    })
}

/// The last cause, which is the specific one.
pub(super) fn sentence(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.trim().to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// The first of the kinds.
static REDIS: &Kind = &KINDS[0];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
