//! The rows of INFO, and when those of a server and those of the model mean the same.

use std::collections::BTreeMap;

/// By name.
pub fn rows(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.trim_end().split_once(':'));
    let mut rows: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    // Replicas stand in any order.
    let is_row = |name: &str| name.strip_prefix("slave").is_some_and(|rest| rest.parse::<u8>().is_ok());
    let names: Vec<String> = rows.keys().filter(|name| is_row(name)).cloned().collect();
    let mut replicas: Vec<String> = names.iter().filter_map(|name| rows.remove(name)).map(untimed).collect();
    replicas.sort();
    rows.extend(names.into_iter().zip(replicas));
    rows
}

/// A replica's row without the age of its last acknowledgement.
fn untimed(row: String) -> String {
    let words = row.split(',').filter(|word| !word.starts_with("lag="));
    words.collect::<Vec<_>>().join(",")
}

fn without_offset(row: &str) -> Vec<&str> {
    row.split(',').filter(|word| !word.starts_with("offset=")).collect()
}

/// Which replication ids of servers are which of the model.
#[derive(Debug)]
pub struct Ids {
    /// Offsets are the same to the byte.
    has_exact_offsets: bool,
    known: BTreeMap<String, String>,
    tried: BTreeMap<String, String>,
}

impl Ids {
    /// None is known yet.
    pub fn new(has_exact_offsets: bool) -> Self {
        Self { has_exact_offsets, known: BTreeMap::new(), tried: BTreeMap::new() }
    }

    /// Whether offsets are compared.
    pub fn has_exact_offsets(&self) -> bool {
        self.has_exact_offsets
    }

    /// Whether two values of a row mean the same.
    pub fn are_alike(&mut self, name: &str, real: &str, said: &str) -> bool {
        match name {
            "master_replid" | "master_replid2" => self.is_same_id(real, said),
            // Seconds of two clocks: both have some, or neither.
            "master_link_down_since_seconds" | "master_last_io_seconds_ago" => {
                (real == "-1") == (said == "-1")
            }
            _ if !self.has_exact_offsets && name.contains("offset") => true,
            _ if !self.has_exact_offsets && name.starts_with("slave") => {
                without_offset(real) == without_offset(said)
            }
            "aof_enabled" => real == said,
            // How many keys; what else stands there differs by version.
            "db0" => real.split(',').next() == said.split(',').next(),
            _ if UNLIKE.iter().any(|unlike| name.starts_with(unlike)) => true,
            _ => real == said,
        }
    }

    /// One id of a server is one of the model's, and no other one is.
    fn is_same_id(&mut self, real: &str, said: &str) -> bool {
        let is_none = |id: &str| id.bytes().all(|byte| byte == b'0');
        if is_none(real) || is_none(said) {
            return is_none(real) && is_none(said);
        }
        let both = || self.known.iter().chain(&self.tried);
        let meant = both().find(|(id, _)| *id == real).map(|(_, said)| said.clone());
        match meant {
            Some(meant) => meant == said,
            None if both().any(|(_, known)| known == said) => false,
            None => {
                self.tried.insert(real.to_owned(), said.to_owned());
                true
            }
        }
    }

    /// What was tried holds from now on.
    pub fn keep(&mut self) {
        self.known.append(&mut self.tried);
    }

    /// The servers were not at rest yet.
    pub fn forget(&mut self) {
        self.tried.clear();
    }
}

/// Rows whose values are the machine's, or are not modelled: of the backlog, of the last save, of a copy that
/// is being made.
const UNLIKE: [&str; 7] =
    ["repl_backlog", "rdb_", "aof_", "current_", "async_loading", "master_sync_", "module_fork"];
