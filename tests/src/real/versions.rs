//! The versions of Redis and Valkey that are here.

use std::path::{Path, PathBuf};

/// Name, and the program below `target/servers`; empty: the system's own.
const VERSIONS: [(&str, &str); 6] = [
    ("Redis 6.0", "redis-6.0/redis-server"),
    ("Redis 6.2", "redis-6.2/redis-server"),
    ("Redis 7.0", ""),
    ("Redis 8.0", "redis-8.0/redis-server"),
    ("Valkey 8.1", "valkey-8.1/valkey-server"),
    ("Valkey 9.1", "valkey-9.1/valkey-server"),
];

/// Those that are installed, by name, with their programs. Says which are not.
pub fn versions() -> Vec<(&'static str, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/servers");
    let placed = VERSIONS.map(|(name, program)| match program {
        "" => (name, PathBuf::from("redis-server")),
        below => (name, folder.join(below)),
    });
    let is_there = |(name, program): &(&str, PathBuf)| {
        let is_there = !program.is_absolute() || program.exists();
        if !is_there {
            println!("skipped: {name} is not installed: tests/setup/setup.sh servers");
        }
        is_there
    };
    placed.into_iter().filter(is_there).collect()
}
