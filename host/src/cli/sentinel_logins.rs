//! The login by which existing Sentinels enter the servers (`auth-user`, `auth-pass`): each of them is given
//! it when it changes. No reply of a Sentinel shows which one it has. Must not change a server.
//!
//! A Sentinel drops its connections to the servers when it is given a login, and takes a server that refuses
//! the login for down. So all servers are asked first whether they let it in:
//!
//! | a server | then |
//! |--|--|
//! | refuses it | wait: its password is changed later, and until then connections of Sentinels stay open |
//! | is not reached | go on without it, if another one lets the login in |
//!
//! At the start it is not known what Sentinels have. One that has no connection to the master, while all
//! servers let the login in, is given it: an operator may have ended between the two changes.

use crate::driver::Entry;
use crate::redis::{Credentials, Endpoint, Session, Tls};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::time::Duration;

/// Which Sentinels are to be given the login.
pub(super) struct SentinelLogins {
    master_name: String,
    servers: Vec<Endpoint>,
    sentinels: Vec<Endpoint>,
    due: Vec<Endpoint>,
    /// Those of `due` are given it only where they need it.
    is_start: bool,
    /// The last reason to wait, which is logged once.
    waits_for: Option<String>,
}

/// What the servers say of a login.
#[derive(Debug, PartialEq, Eq)]
enum Entrance {
    /// All that were reached let it in, and one was. `are_all`: all were reached.
    Open { are_all: bool },
    /// Why not, in words.
    Closed(String),
}

impl SentinelLogins {
    /// Before anything is known of the Sentinels.
    pub fn new(master_name: &str, servers: Vec<Endpoint>, sentinels: Vec<Endpoint>) -> Self {
        let due = sentinels.clone();
        Self { master_name: master_name.to_owned(), servers, sentinels, due, is_start: true, waits_for: None }
    }

    /// The login has changed: every Sentinel is due.
    pub fn change(&mut self) {
        self.due.clone_from(&self.sentinels);
        (self.is_start, self.waits_for) = (false, None);
    }

    /// Gives it to those that are due, if the servers let it in. The others stay due.
    pub async fn settle(&mut self, entry: &Entry, tls_of_servers: Option<&Tls>) {
        let login = entry.to_servers.as_ref();
        // What is not known to have changed is not taken away.
        if self.is_start && login.is_none() {
            self.due.clear();
        }
        if self.due.is_empty() {
            return;
        }
        let answers =
            self.servers.iter().map(|at| Session::accepts(at, login, tls_of_servers, SESSION_LIMIT));
        let answers = self.servers.iter().zip(join_all(answers).await);
        let waits_for = match entrance(answers.map(|(at, answer)| (at.to_string(), answer))) {
            Entrance::Open { are_all } if are_all || !self.is_start => {
                let gave = self.due.iter().map(|at| self.give(at, entry, login));
                let gave: Vec<Result<(), String>> = join_all(gave).await;
                let mut failed = gave.iter().map(Result::is_err);
                self.due.retain(|_| failed.next().unwrap_or(false));
                gave.into_iter().find_map(Result::err)
            }
            Entrance::Open { .. } => None,
            Entrance::Closed(why) => Some(why),
        };
        if waits_for != self.waits_for {
            if let (Some(why), false) = (&waits_for, self.is_start) {
                tracing::warn!(error = why, "login to the servers not given to all sentinels, will retry");
            }
            self.waits_for = waits_for;
        }
    }

    async fn give(&self, at: &Endpoint, entry: &Entry, login: Option<&Credentials>) -> Result<(), String> {
        let session = Session::open(at, &entry.logins, entry.tls.as_ref(), SESSION_LIMIT).await?;
        let named = |why| format!("{at}: {why}");
        if self.is_start {
            let rows = session.sentinel_masters().await.map_err(named)?;
            let watched = |row: &&BTreeMap<String, String>| row.get("name") == Some(&self.master_name);
            if rows.iter().find(watched).is_none_or(is_connected) {
                return Ok(());
            }
        }
        session.set_sentinel_login(&self.master_name, login).await.map_err(named)?;
        tracing::info!(sentinel = %at, "login to the servers given to sentinel");
        Ok(())
    }
}

/// What comes of the servers' answers: whether each lets the login in, or why it was not reached.
fn entrance(answers: impl Iterator<Item = (String, Result<bool, String>)>) -> Entrance {
    let (mut open, mut unreached) = (false, None);
    for (at, answer) in answers {
        match answer {
            Ok(true) => open = true,
            Ok(false) => return Entrance::Closed(format!("{at} refuses it: change its password, too")),
            Err(why) => unreached = Some(why),
        }
    }
    match unreached {
        Some(why) if !open => Entrance::Closed(why),
        unreached => Entrance::Open { are_all: unreached.is_none() },
    }
}

/// Whether a Sentinel's row of the master shows a connection to it.
fn is_connected(row: &BTreeMap<String, String>) -> bool {
    let flags = row.get("flags").map_or("", String::as_str);
    !flags.split(',').any(|flag| flag == "s_down" || flag == "disconnected")
}

/// For one server or Sentinel.
const SESSION_LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_given_when_no_server_refuses_it_and_one_lets_it_in() {
        let of = |answers: &[Result<bool, &str>]| {
            let answers = answers.iter().map(|answer| answer.map_err(str::to_owned));
            entrance((0..).map(|place: u8| place.to_string()).zip(answers))
        };
        assert_eq!(of(&[Ok(true), Ok(true)]), Entrance::Open { are_all: true });
        assert_eq!(of(&[Ok(true), Err("refused")]), Entrance::Open { are_all: false });
        assert_eq!(of(&[Err("refused"), Err("hung")]), Entrance::Closed("hung".into()));
        let Entrance::Closed(why) = of(&[Ok(true), Ok(false), Err("hung")]) else { panic!() };
        assert!(why.contains("1 refuses it"), "{why}");
    }

    #[test]
    fn a_sentinel_needs_the_login_when_its_row_shows_no_connection() {
        let row = |flags: &str| BTreeMap::from([("flags".to_owned(), flags.to_owned())]);
        assert!(is_connected(&row("master")) && is_connected(&row("master,failover_in_progress")));
        assert!(!is_connected(&row("s_down,master")) && !is_connected(&row("master,disconnected")));
    }
}
