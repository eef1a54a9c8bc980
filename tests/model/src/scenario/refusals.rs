//! What servers refused, in the short form: one line of the file per refusal.

use crate::group::World;
use failover_core::contract::{
    Action, Configure, Evidence, Expectation, Follow, Handover, Promote, Promotion, Refused, Role,
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
    let Written { promote, follow, handover, configure, at, from, text, age_us } = written;
    let action = match (promote, follow, handover, configure) {
        (Some(id), None, None, None) => Action::Promote(Promote {
            expect: expect(&id)?,
            meant_for: id.clone(),
            id,
            source: None,
            evidence: Evidence::Dead,
            how: Promotion::ReplicaofNoOne,
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
        _ => return Err("it is one of promote, follow, handover and configure".into()),
    };
    let text = text.unwrap_or_else(|| "ERR unknown command 'REPLICAOF'".into());
    Ok(Refused { action, text, age_us })
}
