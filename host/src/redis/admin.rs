//! A separate short connection that sets a server's directives, users and passwords while it runs. Must not
//! be used for a failover.

use super::clock::now;
use super::connection::{Connection, Question};
use super::dial::dial;
use super::endpoint::{Credentials, Endpoint, Logins};
use super::probe::{error_text, fields};
use super::server::Server;
use super::tls::Tls;
use redis::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// A connection that is logged in to one server. Ends when dropped.
pub struct Session {
    connection: Connection,
    carrier: AbortHandle,
    deadline: Instant,
}

/// The result of setting a directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Set {
    /// It has the value now.
    Done,
    /// It is read only at the start, and the server started with another value.
    AtStart,
    /// The error reply.
    Refused(String),
}

impl Session {
    /// Connects, and tries the ways to encrypt and the logins in their order. Later calls must end within
    /// `limit` too.
    ///
    /// # Errors
    /// One sentence that names the server and the cause.
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
        let session = Self::connect(endpoint, tls, turn, limit).await?;
        let mut refusal = String::new();
        for turn in 0..logins.count() {
            match session.log_in(logins.turn(turn)).await.map_err(|why| format!("{endpoint}: {why}"))? {
                None => return Ok(session),
                Some(error) => refusal = error,
            }
        }
        Err(format!("{endpoint}: {refusal}"))
    }

    async fn connect(
        endpoint: &Endpoint,
        tls: Option<&Tls>,
        turn: usize,
        limit: Duration,
    ) -> Result<Self, String> {
        let (connection, driver) =
            dial(endpoint, tls, turn, limit).await.map_err(|failure| failure.to_string())?;
        Ok(Self { connection, carrier: tokio::spawn(driver).abort_handle(), deadline: now() + limit })
    }

    /// Whether a server lets that login in. One that has no password lets in any.
    ///
    /// # Errors
    /// One sentence that names the server: it was not reached.
    pub async fn accepts(
        endpoint: &Endpoint,
        login: Option<&Credentials>,
        tls: Option<&Tls>,
        limit: Duration,
    ) -> Result<bool, String> {
        let mut unreached = String::new();
        for turn in 0..tls.map_or(1, Tls::ways) {
            match Self::connect(endpoint, tls, turn, limit).await {
                Ok(session) => {
                    let error = session.log_in(login).await.map_err(|why| format!("{endpoint}: {why}"))?;
                    return Ok(!error.is_some_and(|error| is_refused_login(&error)));
                }
                Err(why) => unreached = why,
            }
        }
        Err(unreached)
    }

    /// Logs in, or asks whether that is needed. The error reply, if there is one.
    ///
    /// # Errors
    /// Why the connection ended.
    async fn log_in(&self, login: Option<&Credentials>) -> Result<Option<String>, String> {
        let login = login.map(Credentials::auth);
        let words: Vec<Vec<&str>> = login.into_iter().chain([vec!["PING"]]).collect();
        let replies = self.connection.ask(&Question::new(&words), self.deadline).await;
        Ok(replies.map_err(|why| why.to_string())?.iter().find_map(error_text))
    }

    /// Adds a password to the default user; existing passwords stay valid. A server without ACLs (before
    /// Redis 6) has only one password: nothing happens, without an error.
    ///
    /// # Errors
    /// The error reply, or why the connection ended.
    pub async fn add_password(&self, password: &str) -> Result<(), String> {
        self.allow_user("default", password, &[]).await.map(drop)
    }

    /// Enables a user with these ACL rules and adds a password; existing passwords stay valid. Empty: any
    /// password is valid. False: the server has no ACLs (before Redis 6).
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

    /// Sets the user and the password with which the server logs in to its master. Empty password: no login.
    ///
    /// # Errors
    /// As [`Session::add_password`].
    pub async fn set_master_auth(&self, user: Option<&str>, password: &str) -> Result<(), String> {
        // Redis sends a user name only with a password. The user has `nopass` then, so any password is valid.
        let password = user.filter(|_| password.is_empty()).unwrap_or(password);
        match self.ask(&["CONFIG", "SET", "masteruser", user.unwrap_or_default()]).await? {
            Some(error) if user.is_some() => return Err(error),
            Some(_) | None => {}
        }
        self.ask(&["CONFIG", "SET", "masterauth", password]).await?.map_or(Ok(()), Err)
    }

    /// Makes this the only password of that user. Empty: any password is valid.
    ///
    /// # Errors
    /// As [`Session::add_password`].
    pub async fn set_user(&self, user: &str, password: &str) -> Result<(), String> {
        self.ask(&["ACL", "SETUSER", user, "resetpass", &secret(password)]).await?.map_or(Ok(()), Err)
    }

    /// Makes this the only password of the default user. Empty: no password is needed. Existing connections
    /// stay logged in.
    ///
    /// # Errors
    /// As [`Session::add_password`].
    pub async fn replace_password(&self, password: &str) -> Result<(), String> {
        self.ask(&["CONFIG", "SET", "requirepass", password]).await?.map_or(Ok(()), Err)
    }

    /// Which server it is. None: it does not say.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn server(&self) -> Result<Option<Server>, String> {
        let question = Question::new(&[["INFO", "server"]]);
        let replies = self.connection.ask(&question, self.deadline).await.map_err(|why| why.to_string())?;
        let info = replies.first().and_then(|reply| redis::from_redis_value_ref::<String>(reply).ok());
        Ok(info.and_then(|info| Server::of_info(&info)))
    }

    /// Sets a user to these ACL rules alone, whatever it had. The error reply, if it is refused: then it is
    /// as it was.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn declare_user(&self, user: &str, rules: &[String]) -> Result<Option<String>, String> {
        let rules = rules.iter().map(String::as_str);
        let words: Vec<&str> = ["ACL", "SETUSER", user, "reset"].into_iter().chain(rules).collect();
        self.ask(&words).await
    }

    /// Deletes a user, and closes its connections. The error reply, if it is refused.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn delete_user(&self, user: &str) -> Result<Option<String>, String> {
        self.ask(&["ACL", "DELUSER", user]).await
    }

    /// Sets a directive, as redis.conf would. An error reply is [`Set::Refused`].
    ///
    /// # Errors
    /// Why the connection ended.
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
        let present = match replies.first() {
            Some(Value::Array(pair)) => pair.get(1),
            Some(_) | None => None,
        };
        let is_set = matches!(present, Some(Value::BulkString(present)) if present == value.as_bytes());
        Ok(if is_set { Set::Done } else { Set::AtStart })
    }

    /// The masters that a Sentinel watches: a row each, with its fields by name (`SENTINEL MASTERS`).
    ///
    /// # Errors
    /// The error reply, which a server that is no Sentinel gives, too, or why the connection ended.
    pub async fn sentinel_masters(&self) -> Result<Vec<BTreeMap<String, String>>, String> {
        let question = Question::new(&[["SENTINEL", "MASTERS"]]);
        let replies = self.connection.ask(&question, self.deadline).await.map_err(|why| why.to_string())?;
        match replies.first() {
            Some(Value::Array(rows)) => {
                rows.iter().map(fields).collect::<Option<_>>().ok_or_else(|| "no rows of fields".into())
            }
            other => Err(other.and_then(error_text).unwrap_or_else(|| "no rows".into())),
        }
    }

    /// Sets the password by which a Sentinel logs in to the servers of that master. Empty: none.
    ///
    /// # Errors
    /// As [`Session::add_password`].
    pub async fn set_auth_pass(&self, master_name: &str, password: &str) -> Result<(), String> {
        self.ask(&["SENTINEL", "SET", master_name, "auth-pass", password]).await?.map_or(Ok(()), Err)
    }

    /// Sets how a Sentinel logs in to the servers of that master, user and password at once. None: not at
    /// all.
    ///
    /// # Errors
    /// As [`Session::add_password`].
    pub async fn set_sentinel_login(
        &self,
        master_name: &str,
        login: Option<&Credentials>,
    ) -> Result<(), String> {
        let options = login.map_or_else(|| vec!["auth-pass", ""], Credentials::sentinel_options);
        self.ask(&[&["SENTINEL", "SET", master_name], &options[..]].concat()).await?.map_or(Ok(()), Err)
    }

    /// Reloads certificate, key and authorities: setting one of the file names reloads all, even with the
    /// same name. Existing connections stay open.
    ///
    /// # Errors
    /// As [`Session::add_password`].
    pub async fn read_certificates(&self, authorities: &str) -> Result<(), String> {
        self.ask(&["CONFIG", "SET", "tls-ca-cert-file", authorities]).await?.map_or(Ok(()), Err)
    }

    /// The error reply, if it is one.
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

/// The error replies to a wrong password (before Redis 6 in words), and to a missing one.
fn is_refused_login(error: &str) -> bool {
    error.starts_with("WRONGPASS") || error.starts_with("NOAUTH") || error.contains("invalid password")
}

/// The ACL rule that adds a password.
fn secret(password: &str) -> String {
    if password.is_empty() { "nopass".to_owned() } else { format!(">{password}") }
}
