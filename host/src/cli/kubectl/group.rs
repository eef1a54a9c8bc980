//! A group as the verbs see it, whatever the kind of its resource.

use crate::cli::Exit;
use crate::kubernetes::crd::RedisStatus;
use crate::kubernetes::kinds::{Kind, Resource};
use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use serde::Deserialize;

/// A resource, and what its status says.
pub struct Group {
    /// The resource.
    pub resource: Resource,
    /// Its status: a RedisFailover's has all that a Redis' has.
    pub status: RedisStatus,
}

impl Group {
    /// From an object of that kind.
    ///
    /// # Errors
    /// [`Exit`]: it is of another version than this program's.
    pub fn of(kind: &'static Kind, object: DynamicObject) -> Result<Self, Exit> {
        let other = |error: String| Exit::Failed(format!("the resource is of another version: {error}"));
        let resource = kind.read(object, Timestamp::now()).map_err(other)?;
        let status = resource.settings.recorded.status.as_ref();
        let status = status.map(RedisStatus::deserialize).transpose();
        Ok(Self { status: status.map_err(|error| other(error.to_string()))?.unwrap_or_default(), resource })
    }

    /// Generation of the spec.
    pub fn generation(&self) -> Option<i64> {
        self.resource.object.metadata.generation
    }

    /// It is observed, without any action. A group that hibernates is a matter of its own.
    pub fn is_paused(&self) -> bool {
        self.resource.settings.group.paused && self.resource.settings.replicas > 0
    }
}
