//! `INFO server` and `INFO persistence`: which process this is, whether its data is there yet, and whether it
//! can write its disk.

use super::info::{Initials, flag, info_fields_of, unsigned};

/// What `INFO server` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts<'a> {
    /// `run_id`: new with every start of the process.
    pub run_id: Option<&'a str>,
    /// `redis_mode` (Valkey: `server_mode`): `standalone`, `sentinel` or `cluster`.
    pub mode: Option<&'a str>,
    /// `valkey_version`, else `redis_version`.
    pub version: Option<&'a str>,
    /// `tcp_port`: where it listens, or its TLS port where it has no other. None for 0.
    pub tcp_port: Option<u16>,
    /// `uptime_in_seconds`: whole seconds since the process started.
    pub uptime_s: Option<u64>,
}

impl<'a> ServerFacts<'a> {
    /// Reads the section out of any INFO text.
    pub fn parse(text: &'a str) -> Self {
        let mut facts = Self::default();
        for (name, value) in info_fields_of(text, const { Initials::of(b"rstuv") }) {
            match name {
                "run_id" if !value.is_empty() => facts.run_id = Some(value),
                "redis_mode" | "server_mode" => facts.mode = Some(value),
                "valkey_version" => facts.version = Some(value),
                "redis_version" => facts.version = facts.version.or(Some(value)),
                "tcp_port" => facts.tcp_port = value.parse().ok().filter(|port| *port != 0),
                "uptime_in_seconds" => facts.uptime_s = unsigned(value),
                _ => {}
            }
        }
        facts
    }
}

/// What `INFO persistence` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PersistenceFacts {
    /// `loading`: the data is being read from disk. A replica that loads its master's transfer says so too.
    pub loading: Option<bool>,
    /// `aof_enabled`: after a restart its history is new although its data is all there.
    pub aof_enabled: Option<bool>,
    /// `rdb_last_load_keys_loaded`, since 7.0: keys that were read from a snapshot when the process started,
    /// or in its last full copy.
    pub keys_loaded: Option<u64>,
    /// `aof_base_size` is not 0, or the file was rewritten since: the process read an append-only file when
    /// it started. Every version shows 0 for a file that it just made. None: it writes none.
    pub has_read_aof: Option<bool>,
    /// `rdb_last_bgsave_status` is `ok`. Not: its disk is full or gone, and Redis may refuse writes.
    pub is_rdb_saved: Option<bool>,
    /// `aof_last_write_status` is `ok`. Not: Redis refuses writes while the append-only file is on.
    pub is_aof_written: Option<bool>,
}

impl PersistenceFacts {
    /// Reads the section out of any INFO text.
    pub fn parse(text: &str) -> Self {
        let mut facts = Self::default();
        let mut is_rewritten = false;
        for (name, value) in info_fields_of(text, const { Initials::of(b"lar") }) {
            match name {
                // Async loading keeps the old data readable while the new is read: `async_loading` is not
                // `loading`.
                "loading" => facts.loading = flag(value),
                "aof_enabled" => facts.aof_enabled = flag(value),
                "rdb_last_load_keys_loaded" => facts.keys_loaded = unsigned(value),
                "aof_base_size" => facts.has_read_aof = unsigned(value).map(|bytes| bytes > 0),
                "aof_last_rewrite_time_sec" => is_rewritten = value != "-1",
                "rdb_last_bgsave_status" => facts.is_rdb_saved = Some(value == "ok"),
                "aof_last_write_status" => facts.is_aof_written = Some(value == "ok"),
                _ => {}
            }
        }
        facts.has_read_aof = facts.has_read_aof.map(|has_read| has_read || is_rewritten);
        facts
    }

    /// The process found no data in files of its own.
    pub fn loaded_nothing(&self) -> bool {
        match self.aof_enabled {
            Some(true) => self.has_read_aof == Some(false),
            Some(false) => self.keys_loaded == Some(0),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valkey_names_are_read_beside_those_of_redis() {
        let facts = ServerFacts::parse(
            "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\nserver_mode:\
             standalone\r\nrun_id:ab\r\n",
        );
        assert_eq!(
            (facts.version, facts.mode, facts.run_id),
            (Some("8.1.1"), Some("standalone"), Some("ab"))
        );
    }

    #[test]
    fn what_is_missing_is_none() {
        assert_eq!(ServerFacts::parse("garbage"), ServerFacts::default());
        assert_eq!(PersistenceFacts::parse("loading:maybe"), PersistenceFacts::default());
    }
}
