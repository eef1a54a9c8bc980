//! What servers refused, in the short form: one line of the file per refusal.

use crate::group::World;
use failover_core::contract::{
    Action, Announce, Configure, Evidence, Expectation, Follow, Handover, Promote, Promotion, Refused, Role,
    SentinelAction, SentinelChange,
};
use serde::Deserialize;
use serde_json::Value;

/// A refusal as written: exactly one of the actions, of which the process that answers now is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    promote: Option<String>,
    follow: Option<String>,
    /// The target; the source is `from`.
    handover: Option<String>,
    /// `[directive, value]`, of the server `at`.
    configure: Option<(String, String)>,
    at: Option<String>,
    from: Option<String>,
    /// Of a promotion: it was by votes, which were not given.
    #[serde(default)]
    votes: bool,
    /// The Sentinel that refused to be told of the master `announce`.
    sentinel: Option<String>,
    announce: Option<String>,
    text: Option<String>,
    age_us: u64,
}

/// Reads a list of refusals, oldest first.
pub(super) fn read(world: &World, value: Value) -> Result<Vec<Refused>, String> {
    let written = Vec::<Written>::deserialize(value).map_err(|error| error.to_string())?;
    written.into_iter().map(|written| refused(world, written)).collect()
}

fn refused(world: &World, written: Written) -> Result<Refused, String> {
    let expect = |id: &str| {
        let server = world
            .servers
            .iter()
            .find(|server| server.id == id)
            .ok_or_else(|| format!("{id} is no server"))?;
        let (run_id, replid) = (server.run_id.clone(), Some(server.replid.clone()));
        Ok::<_, String>(Expectation { run_id, role: Role::Replica, replid, node: None })
    };
    let Written { promote, follow, handover, configure, at, from, votes, sentinel, announce, text, age_us } =
        written;
    let how = if votes { Promotion::Votes } else { Promotion::ReplicaofNoOne };
    let told = sentinel.zip(announce);
    let action = match (promote, follow, handover, configure) {
        (None, None, None, None) if told.is_some() => {
            let (id, master) = told.unwrap_or_default();
            let change = SentinelChange::Announce(Announce { master, config_epoch: 1 });
            let expect = Expectation { run_id: String::new(), role: Role::Unknown, replid: None, node: None };
            Action::Sentinel(SentinelAction { id, change, expect })
        }
        (Some(id), None, None, None) => Action::Promote(Promote {
            expect: expect(&id)?,
            meant_for: id.clone(),
            id,
            source: None,
            evidence: Evidence::Dead,
            how,
            completes: vec![],
        }),
        (None, Some(id), None, None) => {
            let master = from.ok_or("a follow is refused `from` a master")?;
            Action::Follow(Follow { expect: expect(&id)?, id, master, discards_bytes: Some(0) })
        }
        (None, None, Some(target), None) => {
            let source = from.ok_or("a handover is refused `from` a master")?;
            let expect_source = Expectation { role: Role::Master, ..expect(&source)? };
            Action::Handover(Handover {
                expect_target: expect(&target)?,
                expect_source,
                source,
                meant_for: target.clone(),
                target,
                pause_max_ms: 1000,
            })
        }
        (None, None, None, Some((directive, to))) => {
            let id = at.ok_or("a directive is refused `at` a server")?;
            Action::Configure(Configure { expect: expect(&id)?, id, directive, to })
        }
        _ => {
            return Err(
                "it is one of promote, follow, handover, configure, and announce of a sentinel".into()
            );
        }
    };
    let text = text.unwrap_or_else(|| "ERR unknown command 'REPLICAOF'".into());
    Ok(Refused { action, text, age_us })
}
