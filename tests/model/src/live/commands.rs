//! The commands that an operator sends: what each does to a server, and its reply in the server's words.

use super::network::Peer;
use super::process::SECOND_US;
use super::sentinel::Kind;
use super::{Cluster, Event, Happened};
use crate::has::{Dialect, Role};
use crate::says;
use std::fmt::Write as _;

/// What stands between MULTI and EXEC.
#[derive(Clone, Debug, Default)]
pub struct Session {
    queued: Option<Vec<Vec<String>>>,
    /// A command was refused since MULTI: EXEC drops the queue.
    is_dirty: bool,
}

impl Cluster {
    /// The reply to a command that arrives now, on a connection of a person's.
    pub fn ask(&mut self, server: usize, session: &mut Session, words: &[&str]) -> String {
        let mut reply = String::new();
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.command(server, Peer::Operator(usize::MAX), u64::MAX, session, words, &mut reply);
        reply
    }

    /// Carries out a command and writes its reply. True for one that may change the server.
    pub(super) fn command(
        &mut self,
        server: usize,
        from: Peer,
        connection: u64,
        session: &mut Session,
        words: Vec<String>,
        reply: &mut String,
    ) -> bool {
        let name = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
        // Servers and Sentinels have the password.
        if self.processes[server].is_locked && matches!(from, Peer::Operator(_)) {
            line(reply, format_args!("-NOAUTH Authentication required."));
            return false;
        }
        let is_denied = self.processes[server].refused.contains(&name);
        let is_full = self.processes[server].is_full && self.processes[server].paused_until_us <= self.now_us;
        match (&mut session.queued, name.as_str()) {
            (None, "MULTI") if !is_denied => (session.queued, session.is_dirty) = (Some(vec![]), false),
            (None, _) => return self.carry_out(server, from, connection, &words, reply),
            (Some(_), _) if is_denied || !COMMANDS.contains(&name.as_str()) => {
                session.is_dirty = true;
                line(reply, format_args!("-ERR unknown command '{name}', with args beginning with: "));
                return false;
            }
            // Redis up to 7 at maxmemory, whatever the command; not while writes are paused.
            (Some(_), _) if is_full && !matches!(name.as_str(), "EXEC" | "DISCARD" | "QUIT") => {
                session.is_dirty = true;
                line(reply, format_args!("-OOM command not allowed when used memory > 'maxmemory'."));
                return false;
            }
            (Some(_), "EXEC") if session.is_dirty => {
                session.queued = None;
                line(reply, format_args!("-EXECABORT Transaction discarded because of previous errors."));
                return false;
            }
            (Some(queued), "EXEC") => {
                let queued = std::mem::take(queued);
                session.queued = None;
                line(reply, format_args!("*{}", queued.len()));
                let mut is_change = false;
                for words in &queued {
                    is_change |= self.carry_out(server, from, connection, words, reply);
                }
                return is_change;
            }
            (Some(_), "DISCARD") => session.queued = None,
            (Some(queued), _) => {
                queued.push(words);
                line(reply, format_args!("+QUEUED"));
                return false;
            }
        }
        line(reply, format_args!("+OK"));
        false
    }

    fn carry_out(
        &mut self,
        server: usize,
        from: Peer,
        connection: u64,
        words: &[String],
        reply: &mut String,
    ) -> bool {
        let upper: Vec<String> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
        let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
        let name = upper.first().copied().unwrap_or_default();
        if self.processes[server].refused.iter().any(|refused| refused == name) {
            line(reply, format_args!("-ERR unknown command '{name}', with args beginning with: "));
            return false;
        }
        let is_loading = self.processes[server].loading_until_us.is_some();
        if is_loading && !matches!(name, "INFO" | "AUTH" | "CONFIG" | "CLIENT") {
            line(reply, format_args!("-LOADING Redis is loading the dataset in memory"));
            return false;
        }
        match upper.as_slice() {
            ["PING"] => line(reply, format_args!("+PONG")),
            ["INFO", sections @ ..] => {
                let view = self.view(server);
                let sections: Vec<String> = sections.iter().map(|name| says::info(&view, name)).collect();
                bulk(reply, &sections.join("\r\n"));
            }
            ["ROLE"] => reply.push_str(&says::role(&self.view(server))),
            ["CONFIG", "GET", _] => {
                let pattern = words[2].to_ascii_lowercase();
                let matches = |name: &str| {
                    if pattern == "s[at][vo][ep]*" {
                        return matches!(name, "save" | "stop-writes-on-bgsave-error");
                    }
                    pattern.strip_suffix('*').map_or(name == pattern, |start| name.starts_with(start))
                };
                let config = &self.processes[server].config;
                let found: Vec<_> = config.iter().filter(|(name, _)| matches(name)).collect();
                line(reply, format_args!("*{}", found.len() * 2));
                found.into_iter().flat_map(|(name, value)| [name, value]).for_each(|word| bulk(reply, word));
            }
            ["CLIENT", "INFO"] => {
                let at = &self.processes[server].server;
                bulk(reply, &format!("id=7 addr=10.0.0.250:40000 laddr={}:{} fd=8\n", at.host, at.port));
            }
            ["REPLICAOF" | "SLAVEOF", ..]
            | ["CLIENT", "PAUSE", _, "WRITE"]
            | ["CLIENT", "UNPAUSE"]
            | ["CLIENT", "KILL", "TYPE", ..]
            | ["CONFIG", "SET", _, _] => {
                let command = || words.join(" ");
                match from {
                    Peer::Operator(operator) => {
                        self.note(Happened::Commanded { server, operator, command: command() });
                    }
                    Peer::Sentinel(sentinel) if name == "SLAVEOF" => {
                        self.note(Happened::Repointed { server, sentinel, command: command() });
                    }
                    Peer::Sentinel(_) | Peer::Server(_) | Peer::Client(_) => {}
                }
                self.change(server, from, connection, words, &upper, reply);
                return true;
            }
            _ => line(reply, format_args!("-ERR unknown command '{name}', with args beginning with: ")),
        }
        false
    }

    fn change(
        &mut self,
        server: usize,
        from: Peer,
        connection: u64,
        words: &[String],
        upper: &[&str],
        reply: &mut String,
    ) {
        match upper {
            ["REPLICAOF" | "SLAVEOF", "NO", "ONE"] => {
                self.promote(server);
                line(reply, format_args!("+OK"));
            }
            ["REPLICAOF" | "SLAVEOF", _, port] => match port.parse() {
                Ok(port) if self.follow(server, &words[1], port) => line(reply, format_args!("+OK")),
                Ok(_) => line(reply, format_args!("+OK Already connected to specified master")),
                Err(_) => line(reply, format_args!("-ERR value is not an integer or out of range")),
            },
            ["CLIENT", "PAUSE", ms, "WRITE"] => {
                let until_us = self.now_us + ms.parse().unwrap_or(0) * (SECOND_US / 1000);
                let process = &mut self.processes[server];
                process.paused_until_us = process.paused_until_us.max(until_us);
                let run = process.run;
                self.at(until_us, Event::PauseOver { server, run });
                line(reply, format_args!("+OK"));
            }
            ["CLIENT", "UNPAUSE"] => {
                self.processes[server].paused_until_us = 0;
                self.run_paused(server);
                line(reply, format_args!("+OK"));
            }
            ["CLIENT", "KILL", "TYPE", kind, ..] => {
                let of = Peer::Server(server);
                // But the one that asks for it.
                let (own, of_sentinel) = match from {
                    Peer::Sentinel(sentinel) => (None, Some((sentinel, connection))),
                    Peer::Operator(_) | Peer::Server(_) | Peer::Client(_) => (Some(connection), None),
                };
                let ended = if *kind == "NORMAL" {
                    self.end_routes(of, Some(Kind::Commands), of_sentinel);
                    self.end_client_connections(server) + self.end_operators(of, own)
                } else {
                    self.end_routes(of, Some(Kind::Subscription), None);
                    0
                };
                line(reply, format_args!(":{ended}"));
            }
            ["CONFIG", "SET", ..] => {
                let (name, value) = (words[2].to_ascii_lowercase(), words[3].clone());
                self.processes[server].config.insert(name, value);
                line(reply, format_args!("+OK"));
            }
            _ => line(reply, format_args!("-ERR syntax error")),
        }
    }

    /// `REPLICAOF NO ONE`.
    pub fn promote(&mut self, server: usize) {
        if self.processes[server].server.role == Role::Master {
            return;
        }
        self.leave_master(server);
        let number = self.number();
        let process = &mut self.processes[server];
        let offset = process.server.offset;
        process.server.promote(&format!("p{server}x{number}"));
        (process.upstream, process.has_place) = (None, false);
        if process.server.dialect >= Dialect::Redis7 {
            process.down_since_us = None;
        }
        process.stream = self.streams.grow(process.stream, offset);
        self.detach_all(server);
        let data = self.data(server);
        self.note(Happened::Promoted { server, data });
    }
}

/// Those that [`Cluster::command`] knows.
const COMMANDS: [&str; 10] =
    ["PING", "INFO", "ROLE", "CONFIG", "CLIENT", "REPLICAOF", "SLAVEOF", "MULTI", "EXEC", "DISCARD"];

fn line(reply: &mut String, line: std::fmt::Arguments<'_>) {
    write!(reply, "{line}\r\n").expect("a String takes every text");
}

fn bulk(reply: &mut String, text: &str) {
    line(reply, format_args!("${}", text.len()));
    reply.push_str(text);
    reply.push_str("\r\n");
}
