//! Directives, logins and certificates of running instances, changed without a restart. Each start of each
//! Pod is configured once; a directive that Redis reads at its start only is left to the rollout.
//!
//! | file | decides |
//! |--|--|
//! | `plan` | which Pods are due, and which user of replication may be used |
//! | `login` | which step of a changed login is next |
//! | `certificate` | whether an instance has its new certificate |
//! | `directives` | which names the Pod's annotation gets |
//! | `users` | nothing: it sends the ACL users of clients |
//! | `sentinels` | which Sentinel gets the password |

mod certificate;
mod directives;
mod login;
mod plan;
mod sentinels;
mod users;

pub use directives::directive_names;

use super::super::Context;
use super::secrets::Secrets;
use super::snapshot::Snapshot;
use super::step::StepResult;
use super::users::{Taken, Users};
use crate::kubernetes::status::Problem;
use crate::redis::{Endpoint, Server, Session};
use certificate::{CertificateStep, reload};
use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use login::Login;
use plan::{Known, PodStart, Start, Wanted, plan_due, plan_user, user_of_all};
use sentinels::SentinelLogins;
use std::collections::BTreeMap;
use std::time::Duration;

/// What each Pod was given.
#[derive(Default)]
pub struct LiveConfig {
    known: BTreeMap<String, Known>,
    /// An instance is from before ACLs, so none gets a user of replication.
    knows_no_users: bool,
    sentinels: SentinelLogins,
}

/// A Pod that is being configured.
struct Open {
    name: String,
    start: Start,
    endpoint: Endpoint,
    session: Session,
}

impl LiveConfig {
    /// Whether a directive waits for the next start of a Pod that runs.
    pub fn needs_a_start(&self, pod: &Pod) -> bool {
        self.known
            .get(&pod.name_any())
            .is_some_and(|known| known.needs_a_start && Start::of(pod).as_ref() == Some(&known.start))
    }

    /// The ACL user that all running instances let in and log in as. None: not all have the same.
    pub fn replication_user(&self, snapshot: &Snapshot) -> Option<String> {
        user_of_all(&pods(snapshot), &self.known, self.user(snapshot).as_deref())
    }

    /// Which server runs in a Pod. None: it was not asked since it started.
    pub fn server(&self, pod: &Pod) -> Option<&Server> {
        let known = self.known.get(&pod.name_any())?;
        known.server.as_ref().filter(|_| Start::of(pod).as_ref() == Some(&known.start))
    }

    /// What all running instances took of the ACL users of clients. None: not all were asked since they
    /// started.
    pub fn users(&self, snapshot: &Snapshot) -> Option<Taken> {
        let running = pods(snapshot).into_iter().filter(|pod| pod.start.is_some() && !pod.is_terminating);
        let taken = running
            .map(|pod| self.known.get(&pod.name).filter(|known| pod.start == Some(known.start.clone())));
        let taken: Vec<Users> = taken.map(|known| known.map(Known::users)).collect::<Option<_>>()?;
        Some(Users::in_all(taken.iter()))
    }

    fn user(&self, snapshot: &Snapshot) -> Option<String> {
        snapshot.resource.settings.replication_user.clone().filter(|_| !self.knows_no_users)
    }

    /// Configures the Pods that are due: the login first, of all at once, then the rest of each.
    pub async fn settle(&mut self, context: &Context, snapshot: &Snapshot) -> StepResult {
        self.known.retain(|name, _| snapshot.pods.contains_key(name));
        let Some(secrets) = &snapshot.secrets else { return StepResult::done() };
        let wanted = Wanted {
            directives: snapshot.resource.settings.live_directives.clone(),
            passwords: secrets.passwords.clone(),
            user: self.user(snapshot),
            users: secrets.users.clone(),
            certificate: secrets.certificate(),
        };
        let due = plan_due(&pods(snapshot), &self.known, &wanted);
        let (due_count, open) = (due.len(), open(snapshot, secrets, due).await);
        let are_all_reached = open.len() == due_count;
        // Starting, loading, hung, cut off: configured when it answers.
        let mut result = if are_all_reached { StepResult::done() } else { StepResult::again() };
        let user = plan_user(wanted.user.clone(), are_all_reached, snapshot.replication_user().is_some());
        let sessions: Vec<&Session> = open.iter().map(|open| &open.session).collect();
        let has_user = user.is_some();
        // Sentinels use the new password once all instances take it, and before one refuses the old.
        let mut told = StepResult::done();
        let tell = async || told = self.sentinels.settle(snapshot, &wanted.passwords).await;
        let changed = login::change(&sessions, Login::new(&wanted.passwords, user), tell).await;
        result.add(told);
        let user = match changed {
            Ok(user) => user,
            Err(message) => {
                return StepResult::blocked(Problem { reason: "LoginNotChanged", message });
            }
        };
        self.knows_no_users |= has_user && user.is_none();
        let given = Wanted { user, ..wanted };
        for open in open {
            result.add(self.configure(context, snapshot, secrets, open, given.clone()).await);
        }
        let refusals = self
            .known
            .iter()
            .flat_map(|(name, known)| known.refused.iter().map(move |refusal| format!("{name}: {refusal}")));
        let problem = |message| Problem { reason: "DirectiveRefused", message };
        result.problems.extend(refusals.map(problem));
        let refusals = self.known.iter().flat_map(|(name, known)| {
            let message = move |(user, error)| format!("{name}: user {user}: {error}");
            known.refused_users.iter().cloned().map(message)
        });
        let problem = |message| Problem { reason: "UserRefused", message };
        result.problems.extend(refusals.map(problem));
        result
    }

    /// Certificate, directives and annotation of one Pod, whose login is `given`.
    async fn configure(
        &mut self,
        context: &Context,
        snapshot: &Snapshot,
        secrets: &Secrets,
        Open { name, start, endpoint, session }: Open,
        mut given: Wanted,
    ) -> StepResult {
        let mut result = StepResult::done();
        if let Some(identity) = &secrets.tls {
            let step = reload(&session, &endpoint, identity, SESSION_LIMIT).await;
            given.certificate = given.certificate.filter(|_| step == CertificateStep::Done);
            result.add(match step {
                CertificateStep::Done => StepResult::done(),
                CertificateStep::Retry => StepResult::again(),
                CertificateStep::Overdue(why) => StepResult::blocked(Problem {
                    reason: "CertificateNotTaken",
                    message: format!("{name}: {why}"),
                }),
            });
        }
        let Some(pod) = snapshot.pods.get(&name) else { return result };
        let has_file = snapshot.resource.settings.has_directives_file;
        let directed = async {
            let server = session.server().await?;
            let refused_users = users::set(&session, &given.users).await?;
            let directed = directives::set(&session, &given.directives, has_file).await?;
            directives::note(context, snapshot, pod).await?;
            Ok::<_, String>((server, directed, refused_users))
        };
        match directed.await {
            Ok((server, directives::Directed { refused, needs_a_start }, refused_users)) => {
                self.known
                    .insert(name, Known { start, server, given, refused, refused_users, needs_a_start });
            }
            Err(error) => {
                tracing::warn!(
                    namespace = snapshot.namespace(),
                    pod = name,
                    error,
                    "users and directives not set, will retry"
                );
                result.add(StepResult::again());
            }
        }
        result
    }
}

fn pods(snapshot: &Snapshot) -> Vec<PodStart> {
    let start = |(name, pod): (&String, &std::sync::Arc<Pod>)| PodStart {
        name: name.clone(),
        start: Start::of(pod),
        is_terminating: pod.metadata.deletion_timestamp.is_some(),
    };
    snapshot.pods.iter().map(start).collect()
}

/// Opens sessions with all of them at once. Those that do not answer are left out.
async fn open(snapshot: &Snapshot, secrets: &Secrets, due: Vec<(String, Start)>) -> Vec<Open> {
    let (logins, tls) = (secrets.passwords.logins(), secrets.tls.as_ref().map(|identity| &identity.tls));
    let port = snapshot.resource.settings.port;
    let opened = due.into_iter().map(async |(name, start)| {
        let endpoint = Endpoint { host: snapshot.address(&name).unwrap_or_default(), port };
        let session = Session::open(&endpoint, &logins, tls, SESSION_LIMIT).await.ok()?;
        Some(Open { name, start, endpoint, session })
    });
    join_all(opened).await.into_iter().flatten().collect()
}

/// For the connection, the login and all that is set.
const SESSION_LIMIT: Duration = Duration::from_secs(2);
