//! Which Pods must be configured, and as which user their instances may log in to the master: from what is
//! known of each Pod, and what is wanted.

use super::super::secrets::Passwords;
use super::super::users::Users;
use super::users::RefusedUser;
use crate::kubernetes::pods::running;
use crate::redis::Server;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::collections::BTreeMap;

/// What every running instance should have.
#[derive(Clone, PartialEq, Eq)]
pub struct Wanted {
    pub directives: BTreeMap<String, String>,
    pub passwords: Passwords,
    /// The ACL user of replication. None: instances log in as any client does.
    pub user: Option<String>,
    /// The ACL users of clients.
    pub users: Users,
    /// The digest of the certificate. None: in the clear.
    pub certificate: Option<String>,
}

/// What one start of a Pod's Redis was given.
#[derive(Clone)]
pub struct Known {
    pub start: Start,
    /// None: it did not say.
    pub server: Option<Server>,
    /// A certificate that it does not show yet is None.
    pub given: Wanted,
    /// Directives that it refused, with its words.
    pub refused: Vec<String>,
    /// ACL users that it refused.
    pub refused_users: Vec<RefusedUser>,
    /// A directive waits for the next start.
    pub needs_a_start: bool,
}

impl Known {
    /// The ACL users that it took.
    pub fn users(&self) -> Users {
        let refused: Vec<String> = self.refused_users.iter().map(|(name, _)| name.clone()).collect();
        self.given.users.clone().without(&refused)
    }
}

/// One start of one Pod's Redis: configuration that is set live is lost with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    pub uid: String,
    pub restarts: i32,
}

impl Start {
    /// None: it does not run.
    pub fn of(pod: &Pod) -> Option<Self> {
        Some(Self { uid: pod.uid()?, restarts: running(pod)?.restart_count })
    }
}

/// A Pod, as far as a plan needs it.
#[derive(Clone, Debug)]
pub struct PodStart {
    pub name: String,
    /// None: its Redis does not run.
    pub start: Option<Start>,
    pub is_terminating: bool,
}

/// The Pods to configure, by name: each that runs, is to stay, and was not given what is wanted since it
/// started.
pub fn plan_due(pods: &[PodStart], known: &BTreeMap<String, Known>, wanted: &Wanted) -> Vec<(String, Start)> {
    let is_given = |name: &str, start: &Start| {
        known.get(name).is_some_and(|known| known.start == *start && known.given == *wanted)
    };
    let staying = pods.iter().filter(|pod| !pod.is_terminating);
    staying
        .filter_map(|pod| Some((pod.name.clone(), pod.start.clone()?)))
        .filter(|(name, start)| !is_given(name, start))
        .collect()
}

/// The user to log in to the master as, for the Pods that are configured now. A master refuses a replica
/// whose user it does not know, so no replica uses it before every instance has let it in once: either all
/// Pods are reached now, or all were given it before.
pub fn plan_user(wanted: Option<String>, are_all_reached: bool, is_in_use: bool) -> Option<String> {
    wanted.filter(|_| are_all_reached || is_in_use)
}

/// The user that every running instance was given. None: not every one was given the same.
pub fn user_of_all(
    pods: &[PodStart],
    known: &BTreeMap<String, Known>,
    wanted: Option<&str>,
) -> Option<String> {
    let user = wanted?;
    let is_so =
        |name: &String| known.get(name).is_some_and(|known| known.given.user.as_deref() == Some(user));
    let are_all = pods.iter().filter(|pod| pod.start.is_some()).all(|pod| is_so(&pod.name));
    (!known.is_empty() && are_all).then(|| user.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(restarts: i32) -> Start {
        Start { uid: "u".into(), restarts }
    }

    fn wanted() -> Wanted {
        let passwords = Passwords { wanted: Some("new".into()), given: Some("new".into()), previous: None };
        Wanted {
            directives: BTreeMap::from([("maxmemory".into(), "1gb".into())]),
            passwords,
            user: Some("group-1".into()),
            users: Users::default(),
            certificate: Some("c1".into()),
        }
    }

    fn given(name: &str, change: impl FnOnce(&mut Known)) -> BTreeMap<String, Known> {
        let mut known = Known {
            start: start(0),
            server: None,
            given: wanted(),
            refused: Vec::new(),
            refused_users: Vec::new(),
            needs_a_start: false,
        };
        change(&mut known);
        BTreeMap::from([(name.to_owned(), known)])
    }

    fn pod(start: Option<Start>) -> PodStart {
        PodStart { name: "a".into(), start, is_terminating: false }
    }

    #[test]
    fn each_start_of_each_pod_is_configured_once_and_again_when_something_else_is_wanted() {
        let runs = || pod(Some(start(0)));
        let rows: Vec<(&str, PodStart, BTreeMap<String, Known>, bool)> = vec![
            ("it was given all", runs(), given("a", |_| ()), false),
            ("it is new", runs(), BTreeMap::new(), true),
            ("its container restarted", pod(Some(start(1))), given("a", |_| ()), true),
            (
                "another Pod has its name",
                pod(Some(Start { uid: "v".into(), restarts: 0 })),
                given("a", |_| ()),
                true,
            ),
            ("it does not run", pod(None), BTreeMap::new(), false),
            ("it terminates", PodStart { is_terminating: true, ..runs() }, BTreeMap::new(), false),
            ("a directive changed", runs(), given("a", |known| known.given.directives.clear()), true),
            (
                "the password changed",
                runs(),
                given("a", |known| known.given.passwords.wanted = Some("old".into())),
                true,
            ),
            (
                "a user is declared",
                runs(),
                given("a", |known| known.given.users.drop = vec!["former".into()]),
                true,
            ),
            ("it logs in as any client does", runs(), given("a", |known| known.given.user = None), true),
            (
                "it does not show the certificate yet",
                runs(),
                given("a", |known| known.given.certificate = None),
                true,
            ),
            (
                "it refused a directive: its next start, or another value, may not be refused",
                runs(),
                given("a", |known| known.refused = vec!["maxmemory".into()]),
                false,
            ),
        ];
        for (fact, pod, known, is_due) in rows {
            assert_eq!(!plan_due(&[pod], &known, &wanted()).is_empty(), is_due, "{fact}");
        }
    }

    #[test]
    fn a_user_is_used_once_all_have_let_it_in() {
        let of =
            |are_all_reached, is_in_use| plan_user(Some("u".into()), are_all_reached, is_in_use).is_some();
        assert_eq!(
            [of(true, false), of(false, false), of(false, true), of(true, true)],
            [true, false, true, true]
        );
        assert_eq!(plan_user(None, true, true), None);
    }

    #[test]
    fn the_user_of_all_is_the_one_that_every_running_instance_was_given() {
        let all = |pods: &[PodStart], known| user_of_all(pods, &known, Some("group-1"));
        let (runs, other) = (pod(Some(start(0))), PodStart { name: "b".into(), ..pod(Some(start(0))) });
        let (stopped, known) = (PodStart { start: None, ..other.clone() }, || given("a", |_| ()));
        assert_eq!(all(&[runs.clone(), stopped], known()).as_deref(), Some("group-1"));
        assert_eq!(all(&[runs.clone(), other], known()), None);
        assert_eq!(all(&[], BTreeMap::new()), None, "none was given anything");
        assert_eq!(all(std::slice::from_ref(&runs), given("a", |known| known.given.user = None)), None);
        assert_eq!(user_of_all(&[runs], &known(), None), None);
    }
}
