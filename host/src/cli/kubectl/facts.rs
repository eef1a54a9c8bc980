//! What is known of one resource, from the resource, its Pods and the operator's newest look, as one thing to
//! print. The newest look wins; where it could not be had, the resource's status stands, which has no
//! numbers.

use super::cluster::{Cluster, View};
use crate::cli::Exit;
use crate::contract::{Instance, Value};
use crate::kubernetes::crd::{Redis, RedisStatus};
use crate::kubernetes::status::instances::{health_word, role_word};
use failover_core::facts::{INFO_REPLICATION, ReplicationFacts};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::Serialize;

/// One resource.
#[derive(Debug, Serialize)]
pub struct Facts {
    /// Where it is.
    pub namespace: String,
    /// What it is called.
    pub name: String,
    /// The generation that is wanted.
    pub generation: Option<i64>,
    /// How many instances are wanted.
    pub desired: i32,
    /// Whether it is to be paused.
    pub paused: bool,
    /// The switchover that was asked for last: its id, and to whom.
    pub switchover: Option<(String, Option<String>)>,
    /// What the operator told last.
    pub status: RedisStatus,
    /// By name.
    pub instances: Vec<Row>,
    /// The operator's newest look.
    pub view: Option<View>,
    /// Why there is none.
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
    /// Since when it has had this health, RFC 3339. None: unknown.
    pub since: Option<String>,
    /// What its health rests on.
    pub proof: String,
    /// Its place in the order of succession.
    pub rank: Option<u16>,
    /// Why it could not become master.
    pub ineligible: Option<String>,
    /// Behind the most advanced of its history.
    pub lag_bytes: Option<u64>,
    /// How far it has got.
    pub offset: Option<u64>,
    /// Whether its Pod is ready. None: there is no such Pod, or Pods may not be listed.
    pub ready: Option<bool>,
    /// Where its Pod runs.
    pub node: Option<String>,
    /// When its Pod was made, RFC 3339.
    pub created: Option<String>,
}

impl Facts {
    /// Asks for everything.
    ///
    /// # Errors
    /// [`Exit`] when the resource cannot be had: without the rest there is less to see.
    pub async fn gather(cluster: &Cluster, name: &str) -> Result<Self, Exit> {
        let redis = cluster.redis(name).await?;
        let (pods, view) = tokio::join!(cluster.pods(&redis), cluster.view(&cluster.namespace, name));
        Ok(Self::new(redis, &pods, view))
    }

    /// Puts together what was had.
    pub fn new(redis: Redis, pods: &[Pod], view: Result<View, String>) -> Self {
        let (namespace, name, generation) =
            (redis.namespace().unwrap_or_default(), redis.name_any(), redis.metadata.generation);
        let status = redis.status.unwrap_or_default();
        let (view, no_view) = match view {
            Ok(view) => (Some(view), None),
            Err(why) => (None, Some(why)),
        };
        let mut instances = view.as_ref().map_or_else(|| told(&status), |view| seen(view, &status));
        for pod in pods {
            let name = pod.name_any();
            // A Pod that nobody has seen yet is still one that is there.
            if !instances.iter().any(|row| row.name == name) {
                let proof = "its Pod has no address yet, or the operator has not seen it".into();
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
                row.created = pod.creation_timestamp().map(|at| at.0.to_string());
            }
        }
        instances.sort_by(|one, other| one.name.cmp(&other.name));
        let switchover = redis.spec.switchover.map(|request| (request.id, request.to));
        let (desired, paused) = (redis.spec.replicas, redis.spec.paused);
        Self { namespace, name, generation, desired, paused, switchover, status, instances, view, no_view }
    }

    /// Who is master. None: nobody can be said to be.
    pub fn master(&self) -> Option<&str> {
        self.view.as_ref().map_or(self.status.master.as_deref(), |view| view.decision.master())
    }

    /// The newest decision: its reason, and the reason as a sentence.
    pub fn decision(&self) -> (&str, &str) {
        match &self.view {
            Some(view) => (&view.decision.reason, &view.decision.explanation),
            None => (&self.status.reason, &self.status.message),
        }
    }

    /// The instance of that name.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.instances.iter().find(|row| row.name == name)
    }

    /// A switchover that was asked for and is not done: to whom, and why it is not taken up, where that is
    /// known.
    pub fn pending(&self) -> Option<(Option<&str>, Option<&str>)> {
        let asked = self.switchover.as_ref().filter(|(id, _)| self.status.switchover_id.as_ref() != Some(id));
        let seen = self.view.as_ref().and_then(|view| view.observation.switchover.as_ref());
        match (seen, asked) {
            (Some(seen), _) => Some((seen.target.as_deref(), None)),
            (None, Some((_, to))) => Some((to.as_deref(), Some("no operator has taken it up yet"))),
            (None, None) => None,
        }
    }
}

fn told(status: &RedisStatus) -> Vec<Row> {
    let rows = status.instances.iter().map(|told| Row {
        name: told.name.clone(),
        role: told.role.clone(),
        health: told.health.clone(),
        since: Some(told.since.clone()).filter(|since| !since.is_empty()),
        proof: told.proof.clone(),
        rank: told.rank,
        ineligible: told.ineligible.clone(),
        ..Row::default()
    });
    rows.collect()
}

fn seen(view: &View, status: &RedisStatus) -> Vec<Row> {
    let rows = view.decision.members.iter().map(|member| {
        let (role, health) = (role_word(member.role), health_word(member.health));
        let told = status.instances.iter().find(|told| told.name == member.id && told.health == health);
        Row {
            name: member.id.clone(),
            role: role.into(),
            health: health.into(),
            since: told.map(|told| told.since.clone()).filter(|since| !since.is_empty()),
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

/// `INFO replication` of an instance, its newest good one: how far it has got.
fn offset(instance: &Instance) -> Option<u64> {
    let reply = instance.replies.iter().find(|reply| reply.command == INFO_REPLICATION)?;
    match &reply.newest.as_ref()?.value {
        Value::Text(text) => ReplicationFacts::parse(&text.text).history.map(|history| history.offset),
        Value::Integer(_) | Value::Nil(_) | Value::Nested(_) => None,
    }
}
