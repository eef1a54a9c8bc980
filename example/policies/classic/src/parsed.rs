//! One instance, parsed: the few fields of INFO that the algorithm uses. Never decides.

use super::{Address, Expectation, Instance, InstanceKind, LinkState, Role, Value};

/// An instance that answers.
pub struct Parsed<'a> {
    pub instance: &'a Instance,
    run_id: &'a str,
    replication: &'a str,
    pub is_replica: bool,
    pub connected_replicas: u64,
    pub priority: u64,
    pub offset: u64,
}

impl<'a> Parsed<'a> {
    /// None unless it is a Redis that answers now and that the orchestrator, if there is one, reports as
    /// ready.
    pub fn of(instance: &'a Instance) -> Option<Self> {
        let ready = instance.pod.as_ref().is_none_or(|pod| pod.running && pod.ready);
        if instance.kind != InstanceKind::Redis || instance.link.state != LinkState::Answering || !ready {
            return None;
        }
        let replication = fresh_text(instance, "INFO replication")?;
        let run_id = field(fresh_text(instance, "INFO server")?, "run_id")?;
        let is_replica = match field(replication, "role")? {
            "master" => false,
            "slave" => true,
            _ => return None,
        };
        // As in the original, a field that is missing or unreadable counts as 0.
        let number = |name| field(replication, name).and_then(|digits| digits.parse().ok()).unwrap_or(0);
        Some(Self {
            instance,
            run_id,
            replication,
            is_replica,
            connected_replicas: if is_replica { 0 } else { number("connected_slaves") },
            priority: if is_replica { number("slave_priority") } else { 0 },
            offset: number(if is_replica { "slave_repl_offset" } else { "master_repl_offset" }),
        })
    }

    pub fn id(&self) -> String {
        self.instance.id.clone()
    }

    /// A replica that Redis' own settings allow to become master.
    pub fn is_promotable(&self) -> bool {
        self.is_replica && self.priority != 0
    }

    pub fn role(&self) -> Role {
        if self.is_replica { Role::Replica } else { Role::Master }
    }

    /// The precondition of an action: the same process, in the same role.
    pub fn expectation(&self) -> Expectation {
        Expectation { run_id: self.run_id.into(), role: self.role(), replid: None, node: None }
    }

    /// Whether this master's `slaveN:ip=…,port=…,…` rows list `other`, under any of its addresses. Texts are
    /// compared: another spelling of an IPv6 address, or an address behind NAT, does not match.
    pub fn lists(&self, other: &Parsed) -> bool {
        let is_other = |row: &str| {
            let part = |name| row.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            let at = |address: &Address| {
                part("ip") == Some(&address.host)
                    && part("port").and_then(|port| port.parse().ok()) == Some(address.port)
            };
            at(&other.instance.address) || other.instance.aliases.iter().any(at)
        };
        !self.is_replica && rows(self.replication).any(|(name, row)| is_row(name) && is_other(row))
    }
}

/// The newest reply, unless the newest attempt failed.
fn fresh_text<'a>(instance: &'a Instance, command: &str) -> Option<&'a str> {
    let reply = instance.replies.iter().find(|reply| reply.command == command && reply.failure.is_none())?;
    match &reply.newest.as_ref()?.value {
        Value::Text(text) => Some(&text.text),
        Value::Integer(_) | Value::Nil(_) | Value::Nested(_) => None,
    }
}

/// The `name:value` rows of INFO, which end in CR LF.
fn rows(info: &str) -> impl Iterator<Item = (&str, &str)> {
    info.lines().filter_map(|row| row.split_once(':')).map(|(name, value)| (name, value.trim_end()))
}

fn field<'a>(info: &'a str, wanted: &str) -> Option<&'a str> {
    rows(info).find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// `slave0`, `slave1`, …: not `slave_priority`.
fn is_row(name: &str) -> bool {
    name.strip_prefix("slave")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}
