//! The commands that an operator or a person sends to a Sentinel, and the replies.

use super::file::Settings;
use super::{Master, Sentinel};
use crate::says::{RespText, bulk};
use crate::sentinel::{info_sentinel, info_server};
use std::fmt::Write as _;

impl Sentinel {
    /// True for a command that may change it.
    pub(super) fn carry_out(&mut self, words: &[String], reply: &mut String) -> bool {
        let upper: Vec<String> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
        let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
        let name = words.get(2).map(String::as_str).unwrap_or_default();
        match upper.as_slice() {
            ["PING"] => line(reply, format_args!("+PONG")),
            ["INFO", sections @ ..] => {
                let tilt_s = self.tilt_us.map(|since_us| (self.now_us - since_us) / 1_000_000);
                let text = |section: &&str| match *section {
                    "SENTINEL" => info_sentinel(self.master.is_some(), tilt_s),
                    "SERVER" => info_server(&self.run_id, self.port),
                    _ => String::new(),
                };
                reply.push_str(&bulk(&sections.iter().map(text).collect::<Vec<_>>().join("\r\n")));
            }
            ["PUBLISH", channel, _] => {
                if *channel != HELLO_CHANNEL {
                    let text = "Only HELLO messages are accepted by Sentinel instances.";
                    line(reply, format_args!("-ERR {text}"));
                    return false;
                }
                self.believe(&words[2]);
                line(reply, format_args!(":1"));
                return true;
            }
            ["SENTINEL", "MYID"] => reply.push_str(&bulk(&self.id)),
            ["SENTINEL", "MASTERS"] => {
                let rows = self.master.iter().map(|master| self.row_of_master(master));
                reply.push_str(&RespText::list(rows.collect()));
            }
            ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", _] => match self.watched(name) {
                Some(master) => {
                    let (host, port) = master.named().place();
                    line(reply, format_args!("*2"));
                    reply.push_str(&(bulk(&host) + &bulk(&port.to_string())));
                }
                None => line(reply, format_args!("*-1")),
            },
            ["SENTINEL", "IS-MASTER-DOWN-BY-ADDR", _, port, epoch, _] => {
                let (Ok(port), Ok(epoch)) = (port.parse(), epoch.parse()) else {
                    line(reply, format_args!("-ERR value is not an integer or out of range"));
                    return false;
                };
                let id = Some(words[5].as_str()).filter(|id| *id != "*");
                let (is_down, leader, epoch) = self.on_asked_down(&words[2], port, epoch, id);
                line(reply, format_args!("*3\r\n:{}", u8::from(is_down)));
                reply.push_str(&bulk(leader.as_deref().unwrap_or("*")));
                line(reply, format_args!(":{epoch}"));
                return id.is_some();
            }
            ["SENTINEL", "MONITOR", _, _, port, quorum] => {
                return self.monitor(name, &words[3], port, quorum, reply);
            }
            ["SENTINEL", about, _, ..] if MASTERS.contains(about) => {
                return self.of_master(about, words, reply);
            }
            _ => line(reply, format_args!("-ERR unknown command, or wrong number of arguments")),
        }
        false
    }

    fn watched(&self, name: &str) -> Option<&Master> {
        self.master.as_ref().filter(|master| master.settings.name == name)
    }

    fn monitor(&mut self, name: &str, host: &str, port: &str, quorum: &str, reply: &mut String) -> bool {
        let (Ok(port), Ok(quorum)) = (port.parse::<u16>(), quorum.parse::<u64>()) else {
            line(reply, format_args!("-ERR Invalid quorum"));
            return false;
        };
        if self.watched(name).is_some() {
            line(reply, format_args!("-ERR Duplicate master name."));
            return false;
        }
        let settings = Settings {
            name: name.into(),
            quorum,
            down_after_ms: 30_000,
            failover_timeout_ms: 180_000,
            parallel_syncs: 1,
        };
        let master = Master::new(settings, &(host.into(), port), self.now_us);
        self.flush(&master);
        self.master = Some(master);
        self.event("+monitor", format!("{name} {host} {port}"));
        line(reply, format_args!("+OK"));
        true
    }

    /// Commands that name a master that is watched.
    fn of_master(&mut self, about: &str, words: &[String], reply: &mut String) -> bool {
        let Some(mut master) = self.master.take_if(|master| master.settings.name == words[2]) else {
            line(reply, format_args!("-ERR No such master with that name"));
            return false;
        };
        let mut is_change = true;
        match about {
            "REMOVE" => {
                self.event("-monitor", words[2].clone());
                let all =
                    std::iter::once(&mut master.own).chain(&mut master.replicas).chain(&mut master.peers);
                all.for_each(|one| self.close_all(one));
                self.file.save(self.epoch, None);
                line(reply, format_args!("+OK"));
                return true;
            }
            "SET" => self.set(&mut master, &words[3..], reply),
            "FAILOVER" if master.failover.is_some() => {
                line(reply, format_args!("-INPROG Failover already in progress"));
            }
            "FAILOVER" if self.select(&master).is_none() => {
                line(reply, format_args!("-NOGOODSLAVE No suitable replica to promote"));
            }
            "FAILOVER" => {
                self.start_failover(&mut master, true);
                line(reply, format_args!("+OK"));
            }
            _ => {
                is_change = false;
                self.say(about, &master, reply);
            }
        }
        self.master = Some(master);
        is_change
    }

    fn say(&self, about: &str, master: &Master, reply: &mut String) {
        match about {
            // One row, without a list around it.
            "MASTER" => reply.push_str(&RespText::list(vec![self.row_of_master(master)])[ROW..]),
            "REPLICAS" | "SLAVES" => {
                let rows = master.replicas.iter().map(|one| self.row_of_replica(master, one));
                reply.push_str(&RespText::list(rows.collect()));
            }
            "SENTINELS" => {
                let rows = master.peers.iter().map(|one| self.row_of_peer(master, one));
                reply.push_str(&RespText::list(rows.collect()));
            }
            // CKQUORUM.
            _ => {
                let usable = 1 + master.peers.iter().filter(|peer| !peer.is_down).count() as u64;
                let majority = (master.peers.len() as u64).div_ceil(2) + 1;
                if usable >= master.settings.quorum && usable >= majority {
                    let text = "Quorum and failover authorization can be reached";
                    line(reply, format_args!("+OK {usable} usable Sentinels. {text}"));
                } else {
                    line(reply, format_args!("-NOQUORUM {usable} usable Sentinels."));
                }
            }
        }
    }

    /// Pairs of options and values.
    fn set(&mut self, master: &mut Master, pairs: &[String], reply: &mut String) {
        for pair in pairs.chunks_exact(2) {
            let settings = &mut master.settings;
            let value = pair[1].parse::<u64>().ok().filter(|value| *value > 0);
            let place = match pair[0].to_ascii_lowercase().as_str() {
                "quorum" => Some(&mut settings.quorum),
                "down-after-milliseconds" => Some(&mut settings.down_after_ms),
                "failover-timeout" => Some(&mut settings.failover_timeout_ms),
                "parallel-syncs" => Some(&mut settings.parallel_syncs),
                _ => None,
            };
            let Some((place, value)) = place.zip(value) else {
                let text = format!("Invalid argument '{}' for SENTINEL SET '{}'", pair[1], pair[0]);
                return line(reply, format_args!("-ERR {text}"));
            };
            *place = value;
            self.event("+set", format!("{} {}", pair[0], pair[1]));
        }
        self.flush(master);
        line(reply, format_args!("+OK"));
    }
}

/// What is asked of a master by its name.
const MASTERS: [&str; 8] =
    ["MASTER", "REPLICAS", "SLAVES", "SENTINELS", "CKQUORUM", "REMOVE", "SET", "FAILOVER"];
const HELLO_CHANNEL: &str = "__SENTINEL__:HELLO";
/// `*1\r\n`.
const ROW: usize = 4;

fn line(reply: &mut String, line: std::fmt::Arguments<'_>) {
    write!(reply, "{line}\r\n").expect("a String takes every text");
}
