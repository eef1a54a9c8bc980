//! Which programs of this machine stand for which container image. What is not in the table cannot be pulled.

use super::programs::{in_path, workspace};
use std::path::PathBuf;

/// An image: programs, and what it starts when a container does not say.
#[derive(Clone, Debug)]
pub struct Image {
    /// The last part of its name: `redis` is `docker.io/library/redis:7`. With a tag it is that one only.
    pub name: String,
    /// Path in the container, path on this machine. Beside them a container sees this machine's `/usr`.
    pub programs: Vec<(String, PathBuf)>,
    /// ENTRYPOINT.
    pub entrypoint: Vec<String>,
    /// CMD.
    pub command: Vec<String>,
    /// WORKDIR.
    pub working_dir: String,
}

impl Image {
    /// The official image of Redis: `REDIS_SERVER`, or the system's.
    pub fn redis() -> Self {
        let server = std::env::var_os("REDIS_SERVER")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| in_path("redis-server"));
        Self::of_server("redis", server)
    }

    /// A later version of it. None: it has not been set up here, or could not be.
    pub fn redis_8() -> Option<Self> {
        let server = workspace().join("target/servers/redis-8.0/redis-server");
        server.exists().then(|| Self::of_server("redis:8", Some(server)))
    }

    /// The official image of Valkey. None: as of [`Self::redis_8`].
    pub fn valkey() -> Option<Self> {
        let server = workspace().join("target/servers/valkey-8.1/valkey-server");
        let client = in_path("redis-cli");
        let programs = [("valkey-server", Some(server.clone())), ("valkey-cli", client.clone())];
        let mut image = Self::of_programs("valkey", &programs);
        // It has no program of that name, which this machine's `/usr` has.
        image.programs.extend(client.map(|client| (client.display().to_string(), "/dev/null".into())));
        server.exists().then_some(image)
    }

    fn of_server(name: &str, server: Option<PathBuf>) -> Self {
        Self::of_programs(name, &[("redis-server", server), ("redis-cli", in_path("redis-cli"))])
    }

    /// The first is what it starts.
    fn of_programs(name: &str, programs: &[(&str, Option<PathBuf>)]) -> Self {
        let command = vec![programs[0].0.to_owned()];
        Self {
            name: name.into(),
            programs: programs
                .iter()
                .filter_map(|(inside, path)| Some((format!("/usr/local/bin/{inside}"), path.clone()?)))
                .collect(),
            entrypoint: ["/bin/sh", "-c", ENTRYPOINT, programs[0].0].map(str::to_owned).into(),
            command,
            working_dir: "/data".into(),
        }
    }

    /// Stands in for the exporter's.
    pub fn redis_exporter() -> Self {
        let entrypoint = ["/usr/bin/python3", "-c", include_str!("exporter.py")].map(str::to_owned);
        Self {
            name: "redis_exporter".into(),
            programs: Vec::new(),
            entrypoint: entrypoint.into(),
            command: Vec::new(),
            working_dir: "/".into(),
        }
    }

    /// A shell and the system's programs, for init containers.
    pub fn busybox() -> Self {
        let command = vec!["/bin/sh".into()];
        Self {
            name: "busybox".into(),
            programs: Vec::new(),
            entrypoint: Vec::new(),
            command,
            working_dir: "/".into(),
        }
    }

    /// One static binary, which is the entry point, as the operator's image has it.
    pub fn of_program(name: &str, inside: &str, program: PathBuf) -> Self {
        let programs = vec![(inside.to_owned(), program)];
        Self {
            name: name.into(),
            programs,
            entrypoint: vec![inside.into()],
            command: Vec::new(),
            working_dir: "/".into(),
        }
    }

    /// Whether a container's `image` means this one. A tag `nowhere` is in no registry.
    pub(super) fn is_meant_by(&self, reference: &str) -> bool {
        let last = reference.rsplit('/').next().unwrap_or(reference);
        let name = last.split('@').next().unwrap_or(last);
        let without_tag = name.split(':').next();
        (name == self.name || without_tag == Some(&self.name)) && !last.ends_with(":nowhere")
    }
}

/// What the official images' scripts do with their arguments (docker-library/redis), but for changing the
/// user: what it starts is `$0`.
const ENTRYPOINT: &str = r#"case "$1" in -*|*.conf) set -- "$0" "$@";; esac; exec "$@""#;
