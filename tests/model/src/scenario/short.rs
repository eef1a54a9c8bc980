//! The short form: a base by its name, and what differs. Unknown fields and words are refused.

use super::given::Given;
use crate::group::World;
use failover_core::contract::{
    Action, Evidence, Expectation, Failover, Generation, InDoubt, Observation, Position, Promote, Promotion,
    Published, Role, Switchover,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The fields of a file, in the order in which they are written.
pub(super) const FIELDS: &[&str] = &[
    "why",
    "base",
    "given",
    "sentinels",
    "group",
    "record",
    "last_failover",
    "lineage",
    "position",
    "no_master_age_us",
    "switchover",
    "in_doubt",
    "refused",
    "silent_groups_permille",
    "authority",
    "parameters",
    "expect",
];

/// The situation that the fields of a file describe, `why` and `expect` apart.
pub(super) fn observation(mut file: Map<String, Value>) -> Result<Observation, String> {
    let base = file.remove("base").ok_or("missing field `base`")?;
    let mut world =
        base.as_str().and_then(of_name).ok_or_else(|| format!("base: {base} is none of {BASES}"))?;
    if let Some(given) = file.remove("given") {
        let Value::Object(given) = given else { return Err("given: it is an object of servers".into()) };
        apply(&mut world, given)?;
    }
    // They watch the one on record.
    if let Some(record) = file.remove("record") {
        describe(&mut world, "record", record).map_err(|error| format!("record: {error}"))?;
    }
    if let Some(sentinels) = file.remove("sentinels") {
        super::sentinels::read(&mut world, sentinels).map_err(|error| format!("sentinels: {error}"))?;
    }
    for (field, value) in file {
        describe(&mut world, &field, value).map_err(|error| format!("{field}: {error}"))?;
    }
    Ok(world.observe())
}

/// `healthy-3` and the like.
fn of_name(name: &str) -> Option<World> {
    let (kind, count) = name.rsplit_once('-')?;
    let count = count.parse().ok().filter(|count| (1..=MEMBERS_MAX).contains(count))?;
    let mut world = World::strangers(count);
    match kind {
        "healthy" => return Some(World::healthy(count)),
        "strangers" => {}
        "own-replicas" => world.servers.iter_mut().for_each(|server| {
            server.follow_itself();
            server.offset = 1;
        }),
        "aof-restarted" => {
            world = World::healthy(count);
            world.servers.iter_mut().for_each(|server| {
                server.restart_with_aof(20);
                server.follow_itself();
            });
        }
        _ => return None,
    }
    Some(world)
}

/// What is said of each server: places first, because others name them; then what happened; then fields.
fn apply(world: &mut World, given: Map<String, Value>) -> Result<(), String> {
    let mut servers = Vec::new();
    for (id, value) in given {
        if world.find(&id).is_none() {
            let ids: Vec<_> = world.servers.iter().map(|server| server.id.as_str()).collect();
            return Err(format!("given: {id} is none of {}", ids.join(", ")));
        }
        let given = Given::parse(value).map_err(|error| format!("given.{id}: {error}"))?;
        servers.push((id, given));
    }
    for (id, given) in &servers {
        given.place(world, id).map_err(|error| format!("given.{id}: {error}"))?;
    }
    for (id, given) in &servers {
        given.happen(world, id).map_err(|error| format!("given.{id}: {error}"))?;
    }
    for (id, given) in servers {
        given.apply(world, &id).map_err(|error| format!("given.{id}: {error}"))?;
    }
    Ok(())
}

/// What the host knows beside its servers.
fn describe(world: &mut World, field: &str, value: Value) -> Result<(), String> {
    let text = |error: serde_json::Error| error.to_string();
    match field {
        "group" => world.rest.group = with(&world.rest.group, object(value)?)?,
        "record" => {
            world.shard().published = match value {
                Value::Null => None,
                Value::Object(fields) => Some(record(world, fields)?),
                id => Some(record(world, Map::from_iter([("master".into(), id)]))?),
            };
        }
        "last_failover" => {
            let Change { age_us, source, target, meant_for, evidence } =
                Change::deserialize(value).map_err(text)?;
            let meant_for = meant_for.unwrap_or_else(|| target.clone());
            let evidence = evidence.unwrap_or(Evidence::Dead);
            world.shard().last_failover = Some(Failover { age_us, source, target, meant_for, evidence });
        }
        "position" => {
            let At { history, offset, age_us, acknowledged_by } = At::deserialize(value).map_err(text)?;
            let replid = crate::has::id40(history.as_deref().unwrap_or("a"));
            world.shard().position = Some(Position { replid, offset, acknowledged_by, age_us });
        }
        "lineage" => {
            let generations = Vec::<Stretch>::deserialize(value).map_err(text)?;
            let generation = |Stretch { history, master, end_offset, age_us }| Generation {
                replid: crate::has::id40(&history),
                master,
                end_offset,
                age_us,
            };
            world.shard().lineage = generations.into_iter().map(generation).collect();
        }
        "no_master_age_us" => world.shard().no_master_age_us = u64::deserialize(value).map_err(text)?,
        "switchover" => {
            let target = String::deserialize(value).map_err(text)?;
            let target = Some(target).filter(|target| target != "best");
            world.rest.switchover = Some(Switchover { shard: 0, target, age_us: 1_000_000 });
        }
        "in_doubt" => {
            let doubt = Doubt::deserialize(value).map_err(text)?;
            let server =
                world.find(&doubt.promote).ok_or_else(|| format!("{} is no server", doubt.promote))?;
            let expect = Expectation {
                run_id: server.run_id.clone(),
                role: Role::Replica,
                replid: Some(server.replid.clone()),
                node: None,
            };
            let promote = Promote {
                meant_for: doubt.promote.clone(),
                id: doubt.promote,
                source: doubt.source,
                evidence: Evidence::Dead,
                how: Promotion::ReplicaofNoOne,
                completes: vec![],
                expect,
            };
            world.rest.in_doubt.push(InDoubt { action: Action::Promote(promote), age_us: doubt.age_us });
        }
        "refused" => world.rest.refused = super::refusals::read(world, value)?,
        "silent_groups_permille" => {
            world.rest.silent_groups_permille = u16::deserialize(value).map_err(text)?;
        }
        "authority" => world.rest.authority = bool::deserialize(value).map_err(text)?,
        "parameters" => {
            world.rest.parameters = match value {
                Value::String(text) => text,
                value => value.to_string(),
            };
        }
        _ => return Err(format!("expected one of {}", FIELDS.join(", "))),
    }
    Ok(())
}

/// A record of that master as it is now; other fields as given, ids by their tags.
fn record(world: &mut World, mut fields: Map<String, Value>) -> Result<Published, String> {
    let before = world.shard().published.clone();
    if let Some(master) = fields.remove("master") {
        let master = String::deserialize(master).map_err(|error| error.to_string())?;
        if world.find(&master).is_none() {
            return Err(format!("{master} is no server"));
        }
        world.publish(&master);
    }
    let published = world.shard().published.clone().ok_or("the base has none: name its `master`")?;
    world.shard().published = before;
    for id in ["run_id", "replid"] {
        if let Some(Value::String(tag)) = fields.get_mut(id) {
            *tag = crate::has::id40(tag);
        }
    }
    with(&published, fields)
}

/// A position of the stream that is on record.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct At {
    /// The tag of its replication id; `a` where it is left out.
    history: Option<String>,
    offset: u64,
    age_us: u64,
    #[serde(default)]
    acknowledged_by: Vec<String>,
}

/// A generation on record.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stretch {
    /// The tag of its replication id.
    history: String,
    master: String,
    end_offset: Option<u64>,
    age_us: u64,
}

/// The change of master on record.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    age_us: u64,
    source: Option<String>,
    target: String,
    meant_for: Option<String>,
    evidence: Option<Evidence>,
}

/// A promotion that was sent and never answered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Doubt {
    promote: String,
    source: Option<String>,
    age_us: u64,
}

/// A record of the contract with some of its fields otherwise.
pub(super) fn with<T: Serialize + DeserializeOwned>(
    record: &T,
    fields: Map<String, Value>,
) -> Result<T, String> {
    let text = |error: serde_json::Error| error.to_string();
    let mut all = object(serde_json::to_value(record).map_err(text)?)?;
    for (field, value) in fields {
        if !all.contains_key(&field) {
            let known: Vec<_> = all.keys().map(String::as_str).collect();
            return Err(format!("unknown field `{field}`, expected one of {}", known.join(", ")));
        }
        all.insert(field, value);
    }
    T::deserialize(Value::Object(all)).map_err(text)
}

fn object(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(format!("{other} is no object")),
    }
}

const BASES: &str = "healthy-N, strangers-N, own-replicas-N, aof-restarted-N; N is 1 to 500";

/// As large as groups are measured.
const MEMBERS_MAX: usize = 500;
