//! A short connection of its own, for what is no part of a failover: a server's directives and its password,
//! set while it runs.

use super::connection::{Connection, Question};
use super::dial::dial;
use super::endpoint::{Credentials, Endpoint, Logins};
use super::probe::error_text;
use super::tls::Tls;
use redis::Value;
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// Logged in to one server. Ends when dropped.
pub struct Session {
    connection: Connection,
    carrier: AbortHandle,
    deadline: Instant,
}

/// What a server says of a directive that it was to be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Set {
    /// It holds now.
    Done,
    /// It is read at the start only, and what it was started with is another value.
    AtStart,
    /// The error's own words.
    Refused(String),
}

impl Session {
    /// Connects, and tries the ways to encrypt and the logins in their order. All that follows has to be done
    /// within `limit`, too.
    ///
    /// # Errors
    /// Why there is no session: one sentence that names the server.
    pub async fn open(
        endpoint: &Endpoint,
        logins: &Logins,
        tls: Option<&Tls>,
        limit: Duration,
    ) -> Result<Self, String> {
        let mut refusal = String::new();
        for turn in 0..tls.map_or(1, Tls::ways) {
            match Self::open_in_turn(endpoint, logins, tls, turn, limit).await {
                Ok(session) => return Ok(session),
                Err(why) => refusal = why,
            }
        }
        Err(refusal)
    }

    async fn open_in_turn(
        endpoint: &Endpoint,
        logins: &Logins,
        tls: Option<&Tls>,
        turn: usize,
        limit: Duration,
    ) -> Result<Self, String> {
        let (connection, driver) =
            dial(endpoint, tls, turn, limit).await.map_err(|failure| failure.to_string())?;
        let session = Self {
            connection,
            carrier: tokio::spawn(driver).abort_handle(),
            deadline: Instant::now() + limit,
        };
        let mut refusal = String::new();
        for turn in 0..logins.count() {
            let login = logins.turn(turn).map(Credentials::auth);
            let words: Vec<Vec<&str>> = login.into_iter().chain([vec!["PING"]]).collect();
            let replies = session
                .connection
                .ask(&Question::new(&words), session.deadline)
                .await
                .map_err(|why| format!("{endpoint}: {why}"))?;
            match replies.iter().find_map(error_text) {
                None => return Ok(session),
                Some(error) => refusal = error,
            }
        }
        Err(format!("{endpoint}: {refusal}"))
    }

    /// Takes this password as well as those that it takes already, so that nobody is locked out while others
    /// still use them.
    ///
    /// # Errors
    /// The server's words, or those of a connection that ended. A server from before ACLs knows one password
    /// only: no error.
    pub async fn add_password(&self, password: &str) -> Result<(), String> {
        self.allow_user("default", password, &[]).await.map(drop)
    }

    /// Lets a user in who may do that (rules of an ACL), with this password as well as those that it takes
    /// already. Empty: with any. False: this server is from before ACLs.
    ///
    /// # Errors
    /// As [`Session::add_password`].
    pub async fn allow_user(&self, user: &str, password: &str, may: &[&str]) -> Result<bool, String> {
        let secret = secret(password);
        match self.ask(&[&["ACL", "SETUSER", user, "on", &secret], may].concat()).await? {
            Some(error) if !error.contains("unknown command") => Err(error),
            error => Ok(error.is_none()),
        }
    }

    /// Logs in to its master with this password from now on, as this user where there is one. Empty: with
    /// none.
    ///
    /// # Errors
    /// As [`Session::add_password`].
    pub async fn set_master_auth(&self, user: Option<&str>, password: &str) -> Result<(), String> {
        // Nobody is asked for a name without a password: any will do then.
        let password = user.filter(|_| password.is_empty()).unwrap_or(password);
        match self.ask(&["CONFIG", "SET", "masteruser", user.unwrap_or_default()]).await? {
            Some(error) if user.is_some() => return Err(error),
            Some(_) | None => {}
        }
        self.ask(&["CONFIG", "SET", "masterauth", password]).await?.map_or(Ok(()), Err)
    }

    /// Lets that user in with this password only. Empty: with any.
    ///
    /// # Errors
    /// As [`Session::add_password`].
    pub async fn set_user(&self, user: &str, password: &str) -> Result<(), String> {
        self.ask(&["ACL", "SETUSER", user, "resetpass", &secret(password)]).await?.map_or(Ok(()), Err)
    }

    /// Takes no other password than this from now on. Empty: takes any, and none. Who is logged in stays so.
    ///
    /// # Errors
    /// As [`Session::add_password`].
    pub async fn replace_password(&self, password: &str) -> Result<(), String> {
        self.ask(&["CONFIG", "SET", "requirepass", password]).await?.map_or(Ok(()), Err)
    }

    /// Gives it a directive as redis.conf would.
    ///
    /// # Errors
    /// When the connection ended. What the server says is [`Set`].
    pub async fn set(&self, directive: &str, value: &str) -> Result<Set, String> {
        let Some(error) = self.ask(&["CONFIG", "SET", directive, value]).await? else { return Ok(Set::Done) };
        if !error.contains("immutable") {
            return Ok(Set::Refused(error));
        }
        let replies = self
            .connection
            .ask(&Question::new(&[["CONFIG", "GET", directive]]), self.deadline)
            .await
            .map_err(|why| why.to_string())?;
        let is_so = matches!(replies.first(), Some(Value::Array(pair)) if matches!(pair.get(1), Some(Value::BulkString(is)) if is == value.as_bytes()));
        Ok(if is_so { Set::Done } else { Set::AtStart })
    }

    /// Reads its certificate, key and authorities anew: naming one of the files does it for all, even by the
    /// name that it had. Who is connected stays so.
    ///
    /// # Errors
    /// As [`Session::add_password`].
    pub async fn read_certificates(&self, authorities: &str) -> Result<(), String> {
        self.ask(&["CONFIG", "SET", "tls-ca-cert-file", authorities]).await?.map_or(Ok(()), Err)
    }

    /// The error that it answers, if it does.
    async fn ask(&self, words: &[&str]) -> Result<Option<String>, String> {
        let replies = self
            .connection
            .ask(&Question::new(&[words]), self.deadline)
            .await
            .map_err(|why| why.to_string())?;
        Ok(replies.first().and_then(error_text))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

/// How an ACL rule says that a password is taken.
fn secret(password: &str) -> String {
    if password.is_empty() { "nopass".to_owned() } else { format!(">{password}") }
}
