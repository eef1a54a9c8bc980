//! Other faces of the same groups: which are listed, and which of them answer. Each is asked over a
//! connection of its own, so a face that is gone is shown as gone, as Sentinel shows a Sentinel.

use super::ID_LENGTH;
use crate::group::Moment;
use crate::policy::digest_of;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Another face of the same groups, where clients dial it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// A listed face, and what became of asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub peer: Peer,
    /// Forty hexadecimal digits.
    pub id: String,
    /// When it answered last. None: never yet.
    pub answered: Option<Moment>,
    /// It does not answer, since when.
    pub down: Option<Moment>,
}

/// What is new of a listed face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It answered for the first time.
    Joined,
    Lost,
    Returned,
}

/// The faces that one face lists.
pub(super) struct Peers {
    known: Mutex<Vec<Known>>,
    changed: Notify,
    /// Listed by all faces of this process: they share the pace.
    of_all: Arc<AtomicUsize>,
}

impl Peers {
    pub fn new(of_all: &Arc<AtomicUsize>) -> Self {
        Self { known: Mutex::default(), changed: Notify::new(), of_all: Arc::clone(of_all) }
    }

    /// All of them, in the order of the list.
    pub fn all(&self) -> Vec<Known> {
        self.known().clone()
    }

    pub fn count(&self) -> usize {
        self.known().len()
    }

    /// Lists these and no others. What is known of those that stay is kept.
    pub fn set(&self, peers: Vec<Peer>) {
        let mut known = self.known();
        let fresh = |peer: Peer| {
            let digest = digest_of(format!("{}:{}", peer.host, peer.port).as_bytes());
            Known { peer, id: digest[..ID_LENGTH].to_owned(), answered: None, down: None }
        };
        let before = std::mem::take(&mut *known);
        let kept = |peer: Peer| {
            let same = before.iter().find(|known| known.peer == peer);
            same.cloned().unwrap_or_else(|| fresh(peer))
        };
        *known = peers.into_iter().map(kept).collect();
        self.of_all.fetch_add(known.len(), Ordering::Relaxed);
        self.of_all.fetch_sub(before.len(), Ordering::Relaxed);
        drop(known);
        self.changed.notify_one();
    }

    /// Asks all of them, again and again. `now` is the present moment.
    pub async fn watch(&self, now: impl Fn() -> Moment, tell: impl Fn(&Known, News)) {
        loop {
            let mut asked = JoinSet::new();
            for Known { peer, .. } in self.all() {
                asked.spawn(async move {
                    let answers = answers(&peer).await;
                    (peer, answers)
                });
            }
            while let Some(outcome) = asked.join_next().await {
                let Ok((peer, answers)) = outcome else { continue };
                if let Some((known, news)) = self.note(&peer, answers, now()) {
                    tell(&known, news);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pace(self.of_all.load(Ordering::Relaxed))) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn note(&self, peer: &Peer, answers: bool, now: Moment) -> Option<(Known, News)> {
        let mut all = self.known();
        let known = all.iter_mut().find(|known| known.peer == *peer)?;
        let news = if answers {
            let is_first = known.answered.replace(now).is_none();
            match known.down.take() {
                _ if is_first => Some(News::Joined),
                Some(_) => Some(News::Returned),
                None => None,
            }
        } else {
            let is_late = known.answered.is_none_or(|answered| answered.age_us(now) >= DOWN_US);
            let is_new = is_late && known.down.is_none();
            if is_new {
                known.down = Some(now);
            }
            (is_new && known.answered.is_some()).then_some(News::Lost)
        };
        news.map(|news| (known.clone(), news))
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.count(), Ordering::Relaxed);
    }
}

/// Whether anything comes back: a wrong login and a refused handshake are answers, too.
async fn answers(peer: &Peer) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect((peer.host.as_str(), peer.port)).await?;
        stream.write_all(b"PING\r\n").await?;
        stream.read_u8().await
    };
    matches!(tokio::time::timeout(ANSWER, ask).await, Ok(Ok(_)))
}

/// The pause between two rounds of one face, where all faces together list so many.
fn pace(of_all: usize) -> Duration {
    ROUND.max(Duration::from_millis(of_all as u64 * 1000 / ASKED_PER_S))
}

/// A face without an answer for so long is down.
const DOWN_US: u64 = 5_000_000;
const ANSWER: Duration = Duration::from_secs(1);
const ROUND: Duration = Duration::from_secs(2);
/// By all faces of this process.
const ASKED_PER_S: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Peer {
        Peer { host: "10.0.0.1".into(), port }
    }

    fn listed(ports: &[u16]) -> Peers {
        let peers = Peers::new(&Arc::default());
        peers.set(ports.iter().copied().map(peer).collect());
        peers
    }

    #[test]
    fn a_face_is_down_when_it_has_not_answered_for_five_seconds_or_never_did() {
        let peers = listed(&[1]);
        let note =
            |answers, s: u64| peers.note(&peer(1), answers, Moment(s * 1_000_000)).map(|(_, news)| news);
        assert_eq!(note(false, 1), None, "it never answered, so nobody has lost it");
        assert_eq!(peers.all()[0].down, Some(Moment(1_000_000)));
        assert_eq!(note(true, 2), Some(News::Joined));
        assert_eq!(note(true, 3), None);
        assert_eq!(note(false, 7), None, "one lost answer is none");
        assert_eq!(note(false, 8), Some(News::Lost));
        assert_eq!(note(false, 9), None, "it is told once");
        assert_eq!(note(true, 10), Some(News::Returned));
        assert_eq!(peers.all()[0].down, None);
        assert_eq!(peers.note(&peer(2), true, Moment(0)).map(|(_, news)| news), None, "it is not listed");
    }

    #[test]
    fn a_new_list_keeps_what_is_known_of_those_that_stay_and_all_faces_share_the_pace() {
        let peers = listed(&[1, 2]);
        peers.note(&peer(2), true, Moment(5));
        peers.set(vec![peer(2), peer(3)]);
        let answered: Vec<_> = peers.all().iter().map(|known| (known.peer.port, known.answered)).collect();
        assert_eq!(answered, [(2, Some(Moment(5))), (3, None)]);
        let of_all = Arc::clone(&peers.of_all);
        assert_eq!(of_all.load(Ordering::Relaxed), 2);
        drop(peers);
        assert_eq!(of_all.load(Ordering::Relaxed), 0);
        assert_eq!([0, 200, 1000].map(pace), [2, 2, 10].map(Duration::from_secs));
    }

    #[tokio::test]
    async fn whoever_says_anything_answers_and_nobody_else() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let at = |port| Peer { host: "127.0.0.1".into(), port };
        let peer = at(port);
        let (is_answered, ()) = tokio::join!(answers(&peer), async {
            let (mut stream, _) = silent.accept().await.unwrap();
            stream.write_all(b"-").await.unwrap();
        });
        assert!(is_answered);
        drop(silent);
        assert!(!answers(&at(port)).await);
    }
}
