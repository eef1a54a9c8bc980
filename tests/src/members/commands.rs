//! The commands that an operator sends, and the replies of a simulated member. What it does not know is
//! refused in a server's words.

use super::group::Group;
use redis_model::says;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// One connection: what stands between MULTI and EXEC.
#[derive(Debug, Default)]
pub struct Session {
    queued: Option<Vec<Vec<String>>>,
}

impl Session {
    /// Carries out a command and writes its reply. Returns whether it was one that changes a server.
    pub fn take(
        &mut self,
        group: &mut Group,
        index: usize,
        words: Vec<String>,
        now: Instant,
        reply: &mut String,
    ) -> bool {
        let name = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
        match (&mut self.queued, name.as_str()) {
            (None, "MULTI") => self.queued = Some(Vec::new()),
            (None, _) => return carry_out(group, index, &words, now, reply),
            (Some(queued), "EXEC") => {
                let queued = std::mem::take(queued);
                self.queued = None;
                put(reply, format_args!("*{}", queued.len()));
                let changes: Vec<bool> =
                    queued.iter().map(|words| carry_out(group, index, words, now, reply)).collect();
                return changes.contains(&true);
            }
            (Some(_), "DISCARD") => self.queued = None,
            (Some(queued), _) => {
                queued.push(words);
                put(reply, format_args!("+QUEUED"));
                return false;
            }
        }
        put(reply, format_args!("+OK"));
        false
    }
}

fn carry_out(group: &mut Group, index: usize, words: &[String], now: Instant, reply: &mut String) -> bool {
    group.pass(index, now);
    let upper: Vec<String> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
    let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
    match upper.as_slice() {
        ["PING"] => put(reply, format_args!("+PONG")),
        ["INFO", sections @ ..] => {
            let server = group.server(index, now);
            let sections: Vec<String> = sections.iter().map(|name| says::info(&server, name)).collect();
            bulk(reply, &sections.join("\r\n"));
        }
        ["ROLE"] => reply.push_str(&says::role(&group.server(index, now))),
        ["REPLICAOF", "NO", "ONE"] => {
            group.promote(index, now);
            put(reply, format_args!("+OK"));
            return true;
        }
        ["REPLICAOF", _, port] => {
            match port.parse() {
                Ok(port) => match group.follow(index, &words[1], port, now) {
                    true => put(reply, format_args!("+OK")),
                    false => put(reply, format_args!("+OK Already connected to specified master")),
                },
                Err(_) => put(reply, format_args!("-ERR value is not an integer or out of range")),
            }
            return true;
        }
        // Clients other than operators are not simulated.
        ["CLIENT", "KILL", ..] => {
            put(reply, format_args!(":0"));
            return true;
        }
        ["CLIENT", "PAUSE", ms, "WRITE"] => {
            group.pause(index, now + Duration::from_millis(ms.parse().unwrap_or(0)), now);
            put(reply, format_args!("+OK"));
            return true;
        }
        ["CLIENT", "UNPAUSE"] => {
            group.go_on(index, now);
            put(reply, format_args!("+OK"));
            return true;
        }
        ["CONFIG", "SET", _, _] => {
            group.members[index].config.insert(words[2].to_ascii_lowercase(), words[3].clone());
            put(reply, format_args!("+OK"));
            return true;
        }
        ["CONFIG", "GET", _] => {
            let pattern = words[2].to_ascii_lowercase();
            let matches = |name: &str| {
                pattern.strip_suffix('*').map_or(name == pattern, |start| name.starts_with(start))
            };
            let found: Vec<_> =
                group.members[index].config.iter().filter(|(name, _)| matches(name)).collect();
            put(reply, format_args!("*{}", found.len() * 2));
            found.into_iter().flat_map(|(name, value)| [name, value]).for_each(|word| bulk(reply, word));
        }
        ["CONFIG", "REWRITE"] => put(reply, format_args!("+OK")),
        ["WAIT", _, _] => put(reply, format_args!(":{}", group.attached(index).count())),
        ["AUTH", ..] => put(
            reply,
            format_args!(
                "-ERR AUTH <password> called without any password configured for the default user. Are you \
                 sure your configuration is correct?"
            ),
        ),
        _ => put(
            reply,
            format_args!(
                "-ERR unknown command '{}', with args beginning with: ",
                words.first().map_or("", String::as_str)
            ),
        ),
    }
    false
}

fn put(reply: &mut String, line: std::fmt::Arguments<'_>) {
    write!(reply, "{line}\r\n").expect("writing to a String");
}

fn bulk(reply: &mut String, text: &str) {
    put(reply, format_args!("${}", text.len()));
    reply.push_str(text);
    reply.push_str("\r\n");
}
