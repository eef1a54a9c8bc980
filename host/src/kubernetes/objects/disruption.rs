//! The PodDisruptionBudget: how many instances may be evicted at once.

use super::{label_selector, metadata};
use crate::kubernetes::crd::Redis;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// One: the others keep the data.
pub fn budget(redis: &Redis) -> PodDisruptionBudget {
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: Some(IntOrString::Int(1)),
        selector: Some(label_selector(redis)),
        ..PodDisruptionBudgetSpec::default()
    };
    PodDisruptionBudget { metadata: metadata(redis, ""), spec: Some(spec), ..PodDisruptionBudget::default() }
}
