//! Passwords and certificates of a group as its files have them now, and as they had them before: servers and
//! Sentinels change one after the other. Must not connect.

use super::{Environment, Exit, SentinelArgs, Servers};
use crate::driver::{Access, Entry};
use crate::redis::{Credentials, Logins, Tls};
use std::path::PathBuf;
use std::sync::Arc;

/// Password and certificates, and what they were.
pub(super) struct Secrets {
    logins: Newest,
    pub tls: Option<Tls>,
    /// Of the operator at the Sentinels.
    logins_at_sentinels: Newest,
    /// How Sentinels are entered, with those logins.
    pub entry: Entry,
    /// Content of the files of certificates.
    files: Vec<Option<Vec<u8>>>,
    /// The last error, which is reported once.
    error: Option<String>,
}

impl Secrets {
    pub fn of(
        servers: &Servers,
        sentinels: &SentinelArgs,
        environment: &Environment,
        access: &Access,
    ) -> Self {
        Self {
            // As read a moment ago: should the file have changed since, the servers refuse it, and it is read
            // again.
            logins: Newest(servers.credentials(environment).into_iter().collect()),
            tls: access.tls.clone(),
            logins_at_sentinels: Newest(sentinels.login().into_iter().collect()),
            entry: access.sentinels.clone(),
            files: contents(servers, sentinels),
            error: None,
        }
    }

    /// The logins to the servers.
    pub fn logins(&self) -> Logins {
        self.logins.any()
    }

    /// True if anything changed.
    ///
    /// # Errors
    /// One sentence, once.
    pub fn read(
        &mut self,
        servers: &Servers,
        sentinels: &SentinelArgs,
        environment: &Environment,
    ) -> Result<bool, String> {
        let read = self.read_all(servers, sentinels, environment);
        let error = read.as_ref().err().cloned();
        let is_old = error == self.error;
        self.error = error;
        if is_old { read.or(Ok(false)) } else { read }
    }

    fn read_all(
        &mut self,
        servers: &Servers,
        sentinels: &SentinelArgs,
        environment: &Environment,
    ) -> Result<bool, String> {
        let said = |exit: Exit| match exit {
            Exit::Input(why) | Exit::Failed(why) => why,
            Exit::Done | Exit::Usage => String::new(),
        };
        let login = servers.credentials(environment).map_err(said)?;
        let files = contents(servers, sentinels);
        let is_new_tls = files != self.files;
        let tls = if is_new_tls { servers.tls().map_err(said)? } else { self.tls.clone() };
        let mut entry = sentinels.entry(servers, environment).map_err(said)?;
        let at_sentinels = sentinels.login().map_err(said)?;
        // All files were read: from here on nothing fails, so no change is half taken.
        let is_new_login = self.logins.put(login);
        let is_new_entry =
            self.logins_at_sentinels.put(at_sentinels) | (entry.to_servers != self.entry.to_servers);
        entry.logins = self.logins_at_sentinels.any();
        if is_new_tls {
            self.tls = after(tls, self.tls.as_ref());
            entry.tls = after(entry.tls, self.entry.tls.as_ref());
            self.files = files;
        } else {
            entry.tls.clone_from(&self.entry.tls);
        }
        // Votes are asked for in the name that was used before.
        entry.own_id = Arc::clone(&self.entry.own_id);
        self.entry = entry;
        Ok(is_new_login || is_new_tls || is_new_entry)
    }
}

/// Logins to one kind of server, the newest first: servers change one after the other.
struct Newest(Vec<Option<Credentials>>);

impl Newest {
    /// Tried first from now on. True: it is another one than before.
    fn put(&mut self, login: Option<Credentials>) -> bool {
        let is_new = self.0.first() != Some(&login);
        if is_new {
            self.0.retain(|former| *former != login);
            self.0.insert(0, login);
            self.0.truncate(LOGINS_MAX);
        }
        is_new
    }

    fn any(&self) -> Logins {
        Logins::any(self.0.clone())
    }
}

/// The new certificates, then those before.
fn after(tls: Option<Tls>, former: Option<&Tls>) -> Option<Tls> {
    tls.map(|tls| match former {
        Some(former) => tls.or(former),
        None => tls,
    })
}

fn contents(servers: &Servers, sentinels: &SentinelArgs) -> Vec<Option<Vec<u8>>> {
    servers.tls_files().chain(sentinels.tls_files()).map(|path: &PathBuf| std::fs::read(path).ok()).collect()
}

/// A server that has missed this number of changes will not accept an earlier password either.
const LOGINS_MAX: usize = 3;
