//! The facts about one resource, combined from the resource, its Pods and the operator's view. The view has
//! precedence; without one the resource's status is used, which has no numbers.

use super::cluster::{Cluster, View};
use super::group::Group;
use crate::cli::Exit;
use crate::contract::{Instance, Value};
use crate::kubernetes::crd::RedisStatus;
use crate::kubernetes::objects::SET_ASIDE;
use crate::kubernetes::status::instances::{health_word, role_word};
use failover_core::facts::{INFO_REPLICATION, ReplicationFacts};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::Serialize;

/// What the container that keeps former files said at its end.
fn kept_files(pod: &Pod) -> Vec<String> {
    let first = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    let end = first
        .filter(|container| container.name == SET_ASIDE)
        .find_map(|container| container.state.as_ref()?.terminated.as_ref()?.message.as_ref());
    end.iter().flat_map(|message| message.lines()).map(str::to_owned).collect()
}

/// The facts about one resource.
#[derive(Debug, Serialize)]
pub struct Facts {
    /// Kind of the resource.
    pub kind: String,
    /// Namespace of the resource.
    pub namespace: String,
    /// Name of the resource.
    pub name: String,
    /// Generation of the spec.
    pub generation: Option<i64>,
    /// Desired instances.
    pub desired: i32,
    /// Whether the spec pauses it.
    pub paused: bool,
    /// The last requested switchover: its id, and the new master.
    pub switchover: Option<(String, Option<String>)>,
    /// The status.
    pub status: RedisStatus,
    /// The instances, by name.
    pub instances: Vec<Row>,
    /// The operator's view.
    pub view: Option<View>,
    /// Why there is no view.
    pub no_view: Option<String>,
}

/// One instance.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// The Pod.
    pub name: String,
    /// Master, Replica, Unknown.
    pub role: String,
    /// InSync, Syncing, Alive, Suspect, Silent, Dead, Abdicated, Amnesic.
    pub health: String,
    /// Since when it has this health, RFC 3339. None: unknown.
    pub since: Option<String>,
    /// The evidence for its health.
    pub proof: String,
    /// Position in the order of succession.
    pub rank: Option<u16>,
    /// Why it is not eligible as master.
    pub ineligible: Option<String>,
    /// Bytes behind the most advanced instance of its history.
    pub lag_bytes: Option<u64>,
    /// Its replication offset.
    pub offset: Option<u64>,
    /// Whether its Pod is ready. None: there is no such Pod, or listing Pods is not permitted.
    pub ready: Option<bool>,
    /// Node of its Pod.
    pub node: Option<String>,
    /// Creation time of its Pod, RFC 3339.
    pub created: Option<String>,
    /// The sets of former files on its volume, with their sizes, as its last start found them.
    pub set_aside: Vec<String>,
}

impl Facts {
    /// Requests everything.
    ///
    /// # Errors
    /// [`Exit`] without the resource; the rest is optional.
    pub async fn gather(cluster: &Cluster, name: &str) -> Result<Self, Exit> {
        let group = cluster.group(name).await?;
        let (pods, view) =
            tokio::join!(cluster.pods(&group.resource), cluster.view(&cluster.namespace, name));
        Ok(Self::new(group, &pods, view))
    }

    /// Combines the parts.
    pub fn new(group: Group, pods: &[Pod], view: Result<View, String>) -> Self {
        let (generation, paused) = (group.generation(), group.is_paused());
        let Group { resource, status } = group;
        let (namespace, name) = (resource.namespace(), resource.name());
        let (view, no_view) = match view {
            Ok(view) => (Some(view), None),
            Err(why) => (None, Some(why)),
        };
        let mut instances =
            view.as_ref().map_or_else(|| from_status(&status), |view| from_view(view, &status));
        // A decision has a verdict on Sentinels, too.
        let sentinels = resource.settings.family.sentinels_name(&name);
        instances.retain(|row| sentinels.as_ref().is_none_or(|prefix| !row.name.starts_with(prefix)));
        for pod in pods {
            let name = pod.name_any();
            // A Pod that is not in the view or the status yet.
            if !instances.iter().any(|row| row.name == name) {
                let proof = "its Pod has no address yet, or the operator has not observed it".into();
                instances.push(Row {
                    name: name.clone(),
                    role: "Unknown".into(),
                    health: "Unknown".into(),
                    proof,
                    ..Row::default()
                });
            }
            if let Some(row) = instances.iter_mut().find(|row| row.name == name) {
                let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
                row.ready = Some(
                    conditions
                        .into_iter()
                        .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
                );
                row.node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
                row.set_aside = kept_files(pod);
                row.created = pod.creation_timestamp().map(|at| at.0.to_string());
            }
        }
        instances.sort_by(|one, other| one.name.cmp(&other.name));
        let switchover = resource.settings.switchover.map(|request| (request.id, request.to));
        let (kind, desired) = (resource.api.kind, i32::from(resource.settings.group.members_desired));
        Self {
            kind,
            namespace,
            name,
            generation,
            desired,
            paused,
            switchover,
            status,
            instances,
            view,
            no_view,
        }
    }

    /// The master. None: none is known.
    pub fn master(&self) -> Option<&str> {
        self.view.as_ref().map_or(self.status.master.as_deref(), |view| view.decision.master())
    }

    /// The last decision: its reason, and its explanation.
    pub fn decision(&self) -> (&str, &str) {
        match &self.view {
            Some(view) => (&view.decision.reason, &view.decision.explanation),
            None => (&self.status.reason, &self.status.message),
        }
    }

    /// The instance with that name.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.instances.iter().find(|row| row.name == name)
    }

    /// A requested switchover that is not done: the new master, and why no operator has accepted it, if
    /// known.
    pub fn pending(&self) -> Option<(Option<&str>, Option<&str>)> {
        let requested =
            self.switchover.as_ref().filter(|(id, _)| self.status.switchover_id.as_ref() != Some(id));
        let observed = self.view.as_ref().and_then(|view| view.observation.switchover.as_ref());
        match (observed, requested) {
            (Some(observed), _) => Some((observed.target.as_deref(), None)),
            (None, Some((_, to))) => Some((to.as_deref(), Some("no operator has accepted it yet"))),
            (None, None) => None,
        }
    }
}

fn from_status(status: &RedisStatus) -> Vec<Row> {
    let rows = status.instances.iter().map(|known| Row {
        name: known.name.clone(),
        role: known.role.clone(),
        health: known.health.clone(),
        since: Some(known.since.clone()).filter(|since| !since.is_empty()),
        proof: known.proof.clone(),
        rank: known.rank,
        ineligible: known.ineligible.clone(),
        ..Row::default()
    });
    rows.collect()
}

fn from_view(view: &View, status: &RedisStatus) -> Vec<Row> {
    let rows = view.decision.members.iter().map(|member| {
        let (role, health) = (role_word(member.role), health_word(member.health));
        let known = status.instances.iter().find(|known| known.name == member.id && known.health == health);
        Row {
            name: member.id.clone(),
            role: role.into(),
            health: health.into(),
            since: known.map(|known| known.since.clone()).filter(|since| !since.is_empty()),
            proof: member.proof.clone(),
            rank: member.rank,
            ineligible: member.ineligible.clone(),
            lag_bytes: member.lag_bytes,
            offset: view
                .observation
                .instances
                .iter()
                .find(|instance| instance.id == member.id)
                .and_then(offset),
            ..Row::default()
        }
    });
    rows.collect()
}

/// The replication offset in the last good `INFO replication` of an instance.
fn offset(instance: &Instance) -> Option<u64> {
    let reply = instance.replies.iter().find(|reply| reply.command == INFO_REPLICATION)?;
    match &reply.newest.as_ref()?.value {
        Value::Text(text) => ReplicationFacts::parse(&text.text).history.map(|history| history.offset),
        Value::Integer(_) | Value::Nil(_) | Value::Nested(_) => None,
    }
}
