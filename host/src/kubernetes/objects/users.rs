//! ACL users of clients, as directives of redis.conf and as arguments of `ACL SETUSER`.

use sha2::{Digest, Sha256};

/// A user, as a server gets it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclUser {
    /// Its name.
    pub name: String,
    /// The words after the name in `user NAME on #… ~cart:* +@read`.
    pub rules: Vec<String>,
}

impl AclUser {
    /// One that is switched on, has one password and these rights.
    pub fn new(name: &str, password: &str, rights: &str) -> Self {
        let digest: String = Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect();
        let first = ["on".to_owned(), format!("#{digest}")];
        let rights = rights.split_whitespace().map(str::to_owned);
        Self { name: name.to_owned(), rules: first.into_iter().chain(rights).collect() }
    }

    /// The line of redis.conf that creates it. The schema lets no quotes in, so the words need none.
    pub fn directive(&self) -> String {
        format!("user {} {}\n", self.name, self.rules.join(" "))
    }
}

/// The users in the directives of a file, without those of replication.
pub fn users_in(directives: &str) -> Vec<AclUser> {
    let of_line = |line: &str| {
        let mut words = line.strip_prefix("user ")?.split_whitespace().map(str::to_owned);
        let name = words.next().filter(|name| !name.starts_with(REPLICATION_PREFIX))?;
        Some(AclUser { name, rules: words.collect() })
    };
    directives.lines().filter_map(of_line).collect()
}

/// The beginning of the names of the users by which instances log in to their master.
pub const REPLICATION_PREFIX: &str = "group-";
