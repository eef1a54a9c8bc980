//! The FailoverPolicy resource, `k8s.amaiz.com/v1alpha1`: the source of a policy, and its state.

#![allow(clippy::duplicated_attributes, reason = "printed columns share attribute names")]

use super::Condition;
use super::schema::any_object;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A policy that Redis resources can name.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "k8s.amaiz.com",
    version = "v1alpha1",
    kind = "FailoverPolicy",
    plural = "failoverpolicies",
    singular = "failoverpolicy",
    shortname = "fp",
    namespaced,
    status = "FailoverPolicyStatus",
    derive = "PartialEq",
    doc = "A failover policy. It is verified before it decides for a Redis",
    printcolumn(
        name = "Active",
        type_ = "string",
        json_path = ".status.active.title",
        description = "The policy that decides"
    ),
    printcolumn(
        name = "Digest",
        type_ = "string",
        json_path = ".status.active.digest",
        description = "SHA-256 of its file"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status",
        description = "Whether the policy of the current spec decides"
    ),
    printcolumn(
        name = "Refused",
        type_ = "string",
        json_path = ".status.refused.reason",
        description = "Why the newest version was refused",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "!(has(self.source.url) || has(self.source.file) || has(self.source.configMap)) || has(self.sha256)"
    ).message("this source needs sha256: add the digest of the file (sha256sum FILE)"),
    validation = Rule::new(
        "!has(self.source.oci) || self.source.oci.image.contains('@sha256:') || has(self.sha256)"
    ).message(
        "a tag can be moved: add sha256, the digest of the component file (redis-operator policy inspect), \
         or name the image with @sha256:"
    )
)]
pub struct FailoverPolicySpec {
    /// Source of the component file.
    pub source: PolicySource,
    /// SHA-256 of the component file, in lower-case hex. A file with another digest is refused. Required
    /// unless the source is embedded, or an image that is named with its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// Parameters, following the policy's schema. `policyParameters` of a Redis override them name by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Option<serde_json::Value>,
}

/// Source of a component file: exactly one of these fields.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "[has(self.embedded), has(self.configMap), has(self.file), has(self.oci), has(self.url)]\
     .filter(one, one).size() == 1"
).message("set exactly one of embedded, configMap, file, oci and url"))]
pub struct PolicySource {
    /// The policy that is built into the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<EmbeddedSource>,
    /// A key of a ConfigMap in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// A file in the operator's directory of policies (`--policy-files`), mounted into its Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,
    /// An artifact of an OCI registry, as `redis-operator policy push` and wkg make them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
    /// A file of a web server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<UrlSource>,
}

/// No settings.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
pub struct EmbeddedSource {}

/// A key of a ConfigMap, in its `binaryData`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct ConfigMapSource {
    /// The ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A file on the operator's disk.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    /// Its absolute path.
    #[schemars(regex(pattern = "^/"), length(max = 4096))]
    pub path: String,
}

/// An artifact of an OCI registry.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OciSource {
    /// `registry/repository:tag` or `registry/repository@sha256:…`, with the digest of the manifest.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// The registry speaks HTTP without TLS. No login is sent to it.
    #[serde(default)]
    pub plain_http: bool,
    /// The login to the registry. Absent: the operator's own, if it has one for this registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<PullSecret>,
}

/// A Secret of type kubernetes.io/dockerconfigjson in the namespace of the FailoverPolicy.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct PullSecret {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A file of a web server.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct UrlSource {
    /// `https://…` or `http://…`.
    #[schemars(regex(pattern = "^https?://"), length(max = 2048))]
    pub address: String,
}

/// State of a policy.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct FailoverPolicyStatus {
    /// Generation of the spec that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The version that decides for the Redis resources that name this policy. Absent: no version has been
    /// verified yet, and the embedded policy decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<ActivePolicy>,
    /// The version that is being verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidatePolicy>,
    /// The newest version, if it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedPolicy>,
    /// How the active version answered as a shadow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowStatus>,
    /// Ready, Refused.
    pub conditions: Vec<Condition>,
}

/// A version that decides.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct ActivePolicy {
    /// Its name and version.
    pub title: String,
    /// SHA-256 of its file.
    pub digest: String,
    /// When it became active, RFC 3339.
    pub since: String,
}

/// A version that is being verified.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct CandidatePolicy {
    /// SHA-256 of its file.
    pub digest: String,
    /// When its verification began, RFC 3339.
    pub since: String,
}

/// A version that was refused.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct RefusedPolicy {
    /// SHA-256 of its file. Absent: there is no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// NotPinned, SourceMissing, SourceForbidden, PullSecret, FetchFailed, DigestMismatch, NoPolicy,
    /// WrongTopology, Unproven, Quarantined.
    pub reason: String,
    /// The reason as one sentence.
    pub message: String,
    /// When it was refused, RFC 3339.
    pub at: String,
}

/// How a shadow policy answered, compared with the policy that decides.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ShadowStatus {
    /// The FailoverPolicy of the shadow.
    pub policy: String,
    /// Decisions equal to the live policy's.
    pub agreed: i64,
    /// Decisions that differed.
    pub differed: i64,
    /// Calls without a usable answer.
    pub faults: i64,
    /// Decisions that the shadow was not asked for, because its queue was full.
    pub dropped: i64,
    /// The newest difference, as one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_difference: Option<String>,
}
