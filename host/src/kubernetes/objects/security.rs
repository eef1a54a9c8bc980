//! The security contexts of Pods: as the resource has them, else those of the Pod Security Standard
//! *restricted*. What a resource sets replaces the default of that place as a whole, so that a manifest means
//! what it says.

use crate::kubernetes::crd::{ContainerSettings, Redis};
use k8s_openapi::api::core::v1::{Capabilities, PodSecurityContext, SeccompProfile, SecurityContext};

/// Of the Pod. It holds for init containers, too, which are the user's: nothing but the group of the volumes
/// is decided here.
pub fn of_pod(redis: &Redis) -> PodSecurityContext {
    redis.spec.security_context.clone().unwrap_or_else(|| PodSecurityContext {
        fs_group: Some(USER),
        fs_group_change_policy: Some("OnRootMismatch".into()),
        ..PodSecurityContext::default()
    })
}

/// Of Redis or the exporter. An image that may start as root changes the owner of its data and then its user,
/// as the official ones do: that takes capabilities, so it loses them only where it surely starts as another
/// user.
pub fn of_container(redis: &Redis, settings: &ContainerSettings) -> SecurityContext {
    if let Some(context) = &settings.security_context {
        return context.clone();
    }
    let user = redis.spec.security_context.is_none().then_some(USER);
    let drops_all = Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() };
    SecurityContext {
        run_as_non_root: user.map(|_| true),
        run_as_user: user,
        run_as_group: user,
        allow_privilege_escalation: Some(false),
        capabilities: is_unprivileged(redis).then_some(drops_all),
        read_only_root_filesystem: Some(!writes_elsewhere(redis)),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }),
        ..SecurityContext::default()
    }
}

/// Whether the containers surely start as a user other than root.
fn is_unprivileged(redis: &Redis) -> bool {
    redis.spec.security_context.as_ref().is_none_or(|context| {
        context.run_as_user.is_some_and(|user| user != 0) || context.run_as_non_root == Some(true)
    })
}

/// Whether a directive has Redis write outside its volumes.
fn writes_elsewhere(redis: &Redis) -> bool {
    let is_outside = |path: &str| {
        let path = path.trim().trim_matches(['"', '\'']);
        path.starts_with('/') && !path.starts_with("/data/")
    };
    let writes = |name: &str| WRITTEN.contains(&name.to_ascii_lowercase().as_str());
    redis.spec.config.iter().any(|(name, value)| writes(name) && is_outside(value))
}

/// The user `redis` of the official images of Redis and Valkey, on Debian and Alpine. Any other would do: the
/// volumes belong to the group.
const USER: i64 = 999;
/// Directives with the path of a file that Redis creates.
const WRITTEN: &[&str] = &["logfile", "pidfile", "unixsocket"];
