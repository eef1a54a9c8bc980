//! The votes of Sentinels: the right to change the master, in one epoch.
//!
//! 1. *look*: ask every Sentinel what it sees. Stop if one runs a failover itself, or if too few answer.
//! 2. *epoch*: one more than the greatest that any of them shows.
//! 3. *ask*: every Sentinel for its vote in that epoch, of the master that it names itself, all at once.
//! 4. *count*: as soon as the last needed vote has arrived, the host is elected. The rest is not waited
//!    for.
//! 5. Else look again and ask in a later epoch, until the deadline.
//!
//! A Sentinel votes once an epoch, for whoever asks first, and lives by it: while it has voted for another
//! it starts no failover for `2 * failover-timeout` (`sentinel.c`, `sentinelVoteLeader`,
//! `sentinelStartFailoverIfNeeded`). Its own leaders are elected by the same votes. So in one epoch there
//! is one leader, among Sentinels and hosts.
//!
//! The majority is that of all Sentinels that any of them counts, not of those that answer: two halves of
//! a cut network never elect a leader each. A Sentinel counts peers that are long gone as well; then the
//! majority is as large as it is for the Sentinels themselves.
//!
//! Why step 5 looks again, and when it waits:
//!
//! - No vote, and an *older* one in the reply: the Sentinel is in a later epoch than it shows, after
//!   elections that nobody won. A greater epoch is asked for at once. If a Sentinel began a failover
//!   meanwhile, its flags say so, and step 1 stops: the greater epoch takes no votes from an election that
//!   is under way.
//! - No vote, and one for *another* in this epoch or a later one: perhaps of long ago, perhaps of an
//!   operator that is about to promote. [`RIVAL_PAUSE`] is more than such a one needs until the Sentinels
//!   name its master; only if they still name the same one, the next epoch is asked for.
//!
//! A vote that comes after the deadline is not lost. Votes raise no config epoch, so the next attempt asks in
//! the same epoch, and a Sentinel that has voted for this host in it says so again, without its disk.

use super::seen::{ID_LENGTH, Seen, see_all};
use super::{Master, Watch, is_same, precondition};
use crate::redis::act::{ActFailure, text_of};
use crate::redis::clock::now;
use crate::redis::connection::Question;
use crate::redis::probe::error_text;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::Value;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// How many votes are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Votes {
    /// Those of a majority.
    Majority,
    /// Those that can be had until the deadline, if they are no majority.
    Available,
}

/// An election that was won.
#[derive(Clone, Debug)]
pub struct Elected {
    /// The epoch of the votes: the config epoch of the master to be. With [`Votes::Available`] and without
    /// any Sentinel, one more than nothing.
    pub epoch: u64,
    /// How many voted.
    pub votes: usize,
    /// Of so many.
    pub voters: usize,
    /// What each Sentinel of the watch saw right before. None: it gave no answer.
    pub(super) seen: Vec<Option<Seen>>,
}

/// Asks for votes until `deadline`, for this member to be the master.
///
/// # Errors
/// `Gone`, before a Sentinel is asked: the connection to that member has ended, and the votes would be of
/// no use. `NotInTime`: no Sentinel is against it, and too few have answered. `Precondition`: there is no
/// majority, or a Sentinel runs a failover itself. Votes that were given stand: the Sentinels that gave
/// them start no failover for `2 * failover-timeout`.
pub async fn elect(
    watch: &Watch,
    candidate: &Master,
    needed: Votes,
    deadline: Instant,
) -> Result<Elected, ActFailure> {
    let no = |why: String| precondition("votes", why);
    if !candidate.connection.is_open() {
        return Err(ActFailure::Gone { step: "votes" });
    }
    let (mut epoch, mut attempt) = (0, 0);
    let mut first: Vec<Option<Seen>> = Vec::new();
    loop {
        let looked = see_all(watch, deadline).await;
        let running = looked.iter().position(|view| view.as_ref().is_ok_and(|view| view.is_failing_over));
        if let Some(place) = running {
            return Err(no(format!("{} runs a failover", watch.sentinels[place].id)));
        }
        let seen: Vec<Option<Seen>> = looked.iter().map(|view| view.as_ref().ok().cloned()).collect();
        let changed = first.iter().zip(&seen).position(|(first, view)| has_switched(first, view));
        if let Some(place) = changed {
            return Err(no(format!("{} names another master by now", watch.sentinels[place].id)));
        }
        if first.is_empty() {
            first.clone_from(&seen);
        }
        let claimed = seen.iter().flatten().map(|view| view.peers_claimed + 1).max().unwrap_or_default();
        let voters = claimed.max(watch.settings.sentinels_desired.into());
        let answering = seen.iter().flatten().count();
        let quota = match needed {
            Votes::Majority => voters / 2 + 1,
            Votes::Available => (voters / 2 + 1).min(answering),
        };
        if answering < quota {
            return Err(no(too_few(watch, &looked, quota, voters)));
        }
        let known = seen.iter().flatten().map(|view| view.epoch).max().unwrap_or_default();
        epoch = known.saturating_add(1).max(epoch);
        let count = ask(watch, &seen, epoch, quota, deadline).await;
        if count.votes >= quota {
            return Ok(Elected { epoch, votes: count.votes, voters, seen });
        }
        let pause = if count.rival.is_some() { RIVAL_PAUSE } else { Duration::ZERO };
        attempt += 1;
        if now() + pause >= deadline || attempt == ATTEMPTS_MAX {
            // A slow disk is no reason to wait for ever, where it was found that no Sentinel will act.
            if needed == Votes::Available && count.rival.is_none() {
                return Ok(Elected { epoch, votes: count.votes, voters, seen });
            }
            let votes = count.votes;
            let text = format!("{votes} of {voters} Sentinels voted in epoch {epoch}, and {quota} must");
            let rival = count.rival.map(|(id, epoch)| format!("{id} has votes of epoch {epoch}"));
            return Err(match rival.or(count.refusal) {
                Some(why) => no(format!("{text}; {why}")),
                None => ActFailure::NotInTime { step: "votes", why: text },
            });
        }
        tokio::time::sleep(pause).await;
        epoch = count.latest.max(epoch).saturating_add(1 << (2 * attempt));
    }
}

fn has_switched(before: &Option<Seen>, now: &Option<Seen>) -> bool {
    before.as_ref().zip(now.as_ref()).is_some_and(|(before, now)| !is_same(&before.master, &now.master))
}

/// How the votes of one epoch stand.
#[derive(Default)]
struct Count {
    votes: usize,
    /// Another that has a vote in this epoch or a later one.
    rival: Option<(String, u64)>,
    /// The latest epoch of any vote in the replies.
    latest: u64,
    /// An error reply.
    refusal: Option<String>,
}

/// Asks all that were seen, until `quota` have voted, or all have answered.
async fn ask(watch: &Watch, seen: &[Option<Seen>], epoch: u64, quota: usize, deadline: Instant) -> Count {
    let epoch_word = epoch.to_string();
    let mut asked = FuturesUnordered::new();
    for (sentinel, view) in watch.sentinels.iter().zip(seen) {
        let Some(view) = view else { continue };
        let port = view.master.port.to_string();
        let words =
            ["SENTINEL", "IS-MASTER-DOWN-BY-ADDR", &view.master.host, &port, &epoch_word, &watch.own_id];
        let question = Question::new(&[words]);
        asked.push(async move { sentinel.connection.ask(&question, deadline).await });
    }
    let mut count = Count::default();
    while count.votes < quota {
        let Some(answer) = asked.next().await else { break };
        let Ok(replies) = answer else { continue };
        count.refusal = count.refusal.or_else(|| replies.iter().find_map(error_text));
        let Some((leader, of)) = vote(&replies) else { continue };
        count.latest = count.latest.max(of);
        if leader == *watch.own_id {
            count.votes += usize::from(of == epoch);
        } else if of >= epoch {
            count.rival = Some((leader, of));
        }
    }
    count
}

/// The leader that a Sentinel has voted for, and the epoch of that vote.
fn vote(replies: &[Value]) -> Option<(String, u64)> {
    let [Value::Array(parts)] = replies else { return None };
    let [_, leader, Value::Int(epoch)] = parts.as_slice() else { return None };
    Some((text_of(leader)?, u64::try_from(*epoch).ok()?))
}

/// Why there can be no majority, Sentinel by Sentinel.
fn too_few(watch: &Watch, looked: &[Result<Seen, String>], quota: usize, voters: usize) -> String {
    let answering = looked.iter().filter(|view| view.is_ok()).count();
    let silent = watch.sentinels.iter().zip(looked).filter_map(|(sentinel, view)| {
        let why = view.as_ref().err()?;
        Some(format!("; {}: {why}", sentinel.id))
    });
    let absent = usize::from(watch.settings.sentinels_desired).saturating_sub(looked.len());
    let absent = if absent > 0 { format!("; {absent} have no connection") } else { String::new() };
    let silent: String = silent.collect();
    format!("{answering} of {voters} Sentinels can vote, and {quota} must{silent}{absent}")
}

/// The id under which this process is elected: 40 hex digits, as Sentinels have, of its own in every run.
pub fn own_id() -> Arc<str> {
    static OWN_ID: LazyLock<Arc<str>> = LazyLock::new(|| {
        // Seeded by the system.
        let mut digits: String =
            (0..3_u8).map(|part| format!("{:016x}", RandomState::new().hash_one(part))).collect();
        digits.truncate(ID_LENGTH);
        digits.into()
    });
    Arc::clone(&OWN_ID)
}

/// A Sentinel writes its vote to disk before it answers: 2 to 20 ms (measured), and a slow disk's more.
pub const ELECTION_MAX: Duration = Duration::from_millis(200);
/// Of epochs that are asked for: 1, 4, 16, 64 beyond the one before.
const ATTEMPTS_MAX: u32 = 5;
/// From the last vote to the hello that every Sentinel has taken: 4 to 15 ms (measured).
const RIVAL_PAUSE: Duration = Duration::from_millis(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_id_is_one_of_sentinel_and_the_same_all_the_time() {
        let id = own_id();
        assert!(id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(id, own_id());
    }

    #[test]
    fn a_vote_names_a_leader_and_an_epoch() {
        let vote = |resp: &[u8]| vote(&[redis::parse_redis_value(resp).unwrap()]);
        assert_eq!(vote(b"*3\r\n:0\r\n$2\r\nab\r\n:7\r\n"), Some(("ab".into(), 7)));
        // No vote was asked for, or the Sentinel knows no master at that address.
        assert_eq!(vote(b"*3\r\n:0\r\n$1\r\n*\r\n:0\r\n"), Some(("*".into(), 0)));
        assert_eq!(vote(b"-ERR no\r\n"), None);
    }
}
