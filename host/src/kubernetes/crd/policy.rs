//! The FailoverPolicy resource, `k8s.amaiz.com/v1alpha1`: where a policy comes from, and what has become of
//! it.

#![allow(clippy::duplicated_attributes, reason = "printed columns have properties of one name")]

use super::Condition;
use super::schema::any_object;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A policy that Redis resources may name.
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
    doc = "A failover policy, proven before it decides for anybody",
    printcolumn(
        name = "Active",
        type_ = "string",
        json_path = ".status.active.title",
        description = "Policy that decides"
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
        description = "Whether the spec's policy decides"
    ),
    printcolumn(
        name = "Refused",
        type_ = "string",
        json_path = ".status.refused.reason",
        description = "Why the newest one does not",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.source.url) || has(self.sha256)").message("a url needs sha256: add that of the file (sha256sum FILE)"),
    validation = Rule::new("!has(self.source.oci) || self.source.oci.image.contains('@sha256:') || has(self.sha256)").message(
        "a tag can be moved: add sha256, that of the component file (redis-operator policy inspect), or name the image with @sha256:"
    )
)]
pub struct FailoverPolicySpec {
    /// Where the component file is.
    pub source: PolicySource,
    /// SHA-256 of the component file, lower-case hex. Another file is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// Parameters, as its schema has them. A Redis' own `policyParameters` come before them, name by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Option<serde_json::Value>,
}

/// Where a component file is: exactly one place.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "[has(self.embedded), has(self.configMap), has(self.file), has(self.oci), has(self.url)].filter(one, one).size() == 1"
).message("exactly one of embedded, configMap, file, oci and url: leave the others out"))]
pub struct PolicySource {
    /// The one that the operator carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<EmbeddedSource>,
    /// A key of a ConfigMap in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// A file that the operator can read, mounted into its Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,
    /// An artifact of an OCI registry, as `redis-operator policy push` and wkg make them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
    /// A file that a web server has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<UrlSource>,
}

/// Nothing to say.
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
    /// The registry speaks HTTP without TLS.
    #[serde(default)]
    pub plain_http: bool,
}

/// A file of a web server.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct UrlSource {
    /// `https://…` or `http://…`.
    #[schemars(regex(pattern = "^https?://"), length(max = 2048))]
    pub address: String,
}

/// What has become of a policy.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct FailoverPolicyStatus {
    /// The generation of the spec that all this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The one that decides for whoever names this resource. None: none was proven yet, and the operator's
    /// own does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<ActivePolicy>,
    /// The one that is being proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidatePolicy>,
    /// The newest one, if it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedPolicy>,
    /// How the active one has answered beside others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowStatus>,
    /// Ready, Refused.
    pub conditions: Vec<Condition>,
}

/// A policy that decides.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct ActivePolicy {
    /// Its name and version.
    pub title: String,
    /// SHA-256 of its file.
    pub digest: String,
    /// When it became active, RFC 3339.
    pub since: String,
}

/// A policy that is being proven.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct CandidatePolicy {
    /// SHA-256 of its file.
    pub digest: String,
    /// When its proof began, RFC 3339.
    pub since: String,
}

/// A policy that does not decide.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct RefusedPolicy {
    /// SHA-256 of its file. None: there is no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// SourceMissing, FetchFailed, DigestMismatch, NoPolicy, WrongTopology, Unproven, Quarantined.
    pub reason: String,
    /// The same as one sentence.
    pub message: String,
    /// When, RFC 3339.
    pub at: String,
}

/// How a policy answered beside the one that decides.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ShadowStatus {
    /// The FailoverPolicy that was asked.
    pub policy: String,
    /// How often it said the same.
    pub agreed: i64,
    /// How often it said something else.
    pub differed: i64,
    /// How often it gave no usable answer.
    pub faults: i64,
    /// Decisions that it was not asked about, since there were too many at once.
    pub dropped: i64,
    /// The newest difference, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_difference: Option<String>,
}
