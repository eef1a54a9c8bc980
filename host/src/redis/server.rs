//! Which server answers, and which files of others it reads.

use std::fmt;

/// A server by its name and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Valkey; else it is Redis.
    is_valkey: bool,
    /// As it says: `8.1.1`.
    version: String,
}

impl Server {
    /// From the section `server` of INFO. Valkey shows a version of Redis, too.
    pub fn of_info(info: &str) -> Option<Self> {
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let valkey = field("valkey_version");
        let version = valkey.or_else(|| field("redis_version"))?.trim().to_owned();
        Some(Self { is_valkey: valkey.is_some(), version })
    }

    /// Whether this one loads what a master of that kind sends in a full copy. None: that is not known.
    ///
    /// A server reads no newer format than it writes (`rdb.h`: `RDB_VERSION`). Two exceptions, of Valkey 9:
    /// it reads none of the formats that Redis alone has; and what it sends depends on the replica.
    pub fn reads(&self, master: &Self) -> Option<bool> {
        if (self.is_valkey, &self.version) == (master.is_valkey, &master.version) {
            return Some(true);
        }
        match (self.format()?, master.format()?) {
            (VALKEY_9, sent) => Some(sent == VALKEY_9 || sent <= LAST_COMMON),
            (_, VALKEY_9) => None,
            (read, sent) => Some(sent <= read),
        }
    }

    /// The format of its files. None: of a version that this table does not have.
    fn format(&self) -> Option<u16> {
        let mut parts = self.version.split('.').map_while(|part| part.parse::<u16>().ok());
        match (self.is_valkey, parts.next()?, parts.next().unwrap_or_default()) {
            (false, 5 | 6, _) => Some(9),
            (false, 7, 0) => Some(10),
            (false, 7, 2) | (true, 7, 2) | (true, 8, _) => Some(LAST_COMMON),
            (false, 7, 4) | (false, 8, 0..=6) => Some(12),
            (true, 9, _) => Some(VALKEY_9),
            _ => None,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.is_valkey { "Valkey" } else { "Redis" };
        write!(f, "{name} {}", self.version)
    }
}

/// The last format that both have.
const LAST_COMMON: u16 = 11;
const VALKEY_9: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_reads_what_is_no_newer_than_its_own_files() {
        let server = |name: &str| {
            let (name, version) = name.split_once(' ').unwrap();
            let field =
                if name == "Valkey" { "redis_version:7.2.4\r\nvalkey_version" } else { "redis_version" };
            Server::of_info(&format!("# Server\r\n{field}:{version}\r\nos:Linux\r\n")).unwrap()
        };
        for (replica, master, expected) in [
            ("Redis 7.0.15", "Redis 6.2.7", Some(true)),
            ("Redis 6.2.7", "Redis 7.0.15", Some(false)),
            ("Redis 7.2.5", "Valkey 8.1.1", Some(true)),
            ("Redis 7.0.15", "Valkey 8.1.1", Some(false)),
            ("Valkey 8.1.1", "Redis 7.2.5", Some(true)),
            ("Valkey 8.1.1", "Redis 8.0.2", Some(false)),
            ("Valkey 9.0.0", "Redis 8.0.2", Some(false)),
            ("Valkey 9.0.0", "Redis 7.2.5", Some(true)),
            ("Valkey 8.1.1", "Valkey 9.0.0", None),
            ("Valkey 9.0.1", "Valkey 9.0.0", Some(true)),
            ("Redis 9.9.9", "Redis 8.0.2", None),
            ("Redis 9.9.9", "Redis 9.9.9", Some(true)),
        ] {
            assert_eq!(server(replica).reads(&server(master)), expected, "{replica} from {master}");
        }
        assert_eq!(server("Valkey 8.1.1").to_string(), "Valkey 8.1.1");
        assert_eq!(Server::of_info("# Server\r\nos:Linux\r\n"), None);
    }
}
