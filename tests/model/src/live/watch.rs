//! Sentinels among the servers: processes that start and end, and their connections to servers and to each
//! other. What a Sentinel makes of it is in [`super::sentinel`].

use super::network::Peer;
use super::process::Life;
use super::sentinel::{Answer, Ask, Input, Kind, Out, Said, Sentinel, Settings};
use super::{Cluster, Event, Happened, Session};
use crate::has::Role;

/// A connection of a Sentinel's, as the network has it.
#[derive(Clone, Debug)]
pub(super) struct Route {
    to: Option<Peer>,
    kind: Kind,
    /// The process at the other end that accepted it.
    open: Option<u64>,
    /// What waits for the end of a write pause, in order: a server carries out nothing behind a PUBLISH
    /// that waits.
    postponed: Vec<Ask>,
    session: Session,
}

/// The number of a Sentinel, and that of a connection of its.
pub(super) type Key = (usize, u64);

#[derive(Clone, Debug)]
pub(super) enum WatchEvent {
    /// Its timer.
    Timer { sentinel: usize, run: u64 },
    /// A connection arrives at the other end.
    Dialled { key: Key },
    /// Its end arrives there.
    Left { key: Key },
    /// A command arrives there.
    Asked { key: Key, ask: Ask },
    /// Something arrives at the Sentinel.
    Came { sentinel: usize, run: u64, input: Input },
}

impl Cluster {
    /// Adds a Sentinel that is not started yet, set up to watch that master.
    pub fn add_sentinel(&mut self, place: (String, u16), settings: Settings, master: (String, u16)) -> usize {
        let sentinel = self.sentinels.len();
        self.sentinels.push(Sentinel::new(sentinel, place.0, place.1, settings, master));
        sentinel
    }

    /// The Sentinels, in order.
    pub fn sentinels(&self) -> &[Sentinel] {
        &self.sentinels
    }

    /// Starts one from its file. No effect if it runs.
    pub fn start_sentinel(&mut self, sentinel: usize) {
        if self.sentinels[sentinel].life == Life::Down {
            let (number, now_us) = (self.number(), self.now_us);
            self.sentinels[sentinel].boot(number, now_us);
            self.next_timer(sentinel);
        }
    }

    /// Ends one, as SIGKILL does. What it sent arrives.
    pub fn kill_sentinel(&mut self, sentinel: usize) {
        if self.sentinels[sentinel].life == Life::Down {
            return;
        }
        self.sentinels[sentinel].life = Life::Down;
        self.unread.remove(&sentinel);
        let own = self.routes.range((sentinel, 0)..=(sentinel, u64::MAX)).map(|(key, _)| *key);
        for key in own.collect::<Vec<_>>() {
            self.leave(key);
        }
        self.end_routes(Peer::Sentinel(sentinel), None, None);
        self.end_operators(Peer::Sentinel(sentinel), None);
    }

    /// The file of one that does not run is lost.
    pub fn empty_sentinel(&mut self, sentinel: usize) {
        let number = self.number();
        self.sentinels[sentinel].forget(number);
    }

    /// Stops one, as SIGSTOP does.
    pub fn stop_sentinel(&mut self, sentinel: usize) {
        if self.sentinels[sentinel].life == Life::Up {
            self.sentinels[sentinel].life = Life::Stopped;
        }
    }

    /// Lets it run again.
    pub fn resume_sentinel(&mut self, sentinel: usize) {
        if self.sentinels[sentinel].life != Life::Stopped {
            return;
        }
        self.sentinels[sentinel].life = Life::Up;
        for event in self.unread.remove(&sentinel).unwrap_or_default() {
            match event {
                Event::Watch(event) => self.on_watch(event),
                Event::Network(event) => self.on_network(event),
                Event::Cron { .. }
                | Event::Loaded { .. }
                | Event::PauseOver { .. }
                | Event::Link(_)
                | Event::Client(_) => {}
            }
        }
        if std::mem::take(&mut self.sentinels[sentinel].timer_is_due) {
            self.on_timer(sentinel);
        }
    }

    /// The clock of its machine jumps ahead.
    pub fn jump_clock(&mut self, sentinel: usize, by_us: u64) {
        self.sentinels[sentinel].ahead_us += by_us;
    }

    /// The reply to a command of a person's.
    pub fn ask_sentinel(&mut self, sentinel: usize, words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut reply = String::new();
        self.command_sentinel(sentinel, &words, &mut reply);
        reply
    }

    /// Carries out a command and writes its reply. True for one that may change it.
    pub(super) fn command_sentinel(&mut self, sentinel: usize, words: &[String], reply: &mut String) -> bool {
        let (is_change, out) = self.sentinels[sentinel].command(self.now_us, words, reply);
        self.carry(sentinel, out);
        is_change
    }

    /// Whether this run of a Sentinel can take an event now. Keeps it for later, if it stands still.
    pub(super) fn sentinel_takes(
        &mut self,
        sentinel: usize,
        run: u64,
        event: impl FnOnce() -> Event,
    ) -> bool {
        let state = &self.sentinels[sentinel];
        match state.life {
            Life::Up => state.run == run,
            Life::Stopped if state.run == run => {
                self.unread.entry(sentinel).or_default().push(event());
                false
            }
            Life::Stopped | Life::Down => false,
        }
    }

    pub(super) fn on_watch(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Timer { sentinel, run } => {
                let state = &mut self.sentinels[sentinel];
                match state.life {
                    Life::Up if state.run == run => self.on_timer(sentinel),
                    Life::Stopped if state.run == run => state.timer_is_due = true,
                    Life::Up | Life::Stopped | Life::Down => {}
                }
            }
            WatchEvent::Dialled { key } => {
                let Some(to) = self.routes.get(&key).and_then(|route| route.to) else { return };
                match self.running(to) {
                    Some(run) => {
                        self.routes.get_mut(&key).into_iter().for_each(|route| route.open = Some(run))
                    }
                    None => self.ended(key),
                }
            }
            WatchEvent::Left { key } => drop(self.routes.remove(&key)),
            WatchEvent::Asked { key, ask } => self.on_ask(key, ask),
            WatchEvent::Came { sentinel, run, input } => {
                let came = || {
                    let input = input.clone();
                    Event::Watch(WatchEvent::Came { sentinel, run, input })
                };
                if self.sentinel_takes(sentinel, run, came) {
                    let out = self.sentinels[sentinel].on(self.now_us, input);
                    self.carry(sentinel, out);
                }
            }
        }
    }

    fn on_timer(&mut self, sentinel: usize) {
        let out = self.sentinels[sentinel].on(self.now_us, Input::Timer);
        self.carry(sentinel, out);
        self.next_timer(sentinel);
    }

    fn next_timer(&mut self, sentinel: usize) {
        let (run, period_us) = (self.sentinels[sentinel].run, self.sentinels[sentinel].period_us());
        self.at(self.now_us + period_us, Event::Watch(WatchEvent::Timer { sentinel, run }));
    }

    /// The process of a server or a Sentinel, if there is one: one that stands still accepts connections.
    pub(super) fn running(&self, peer: Peer) -> Option<u64> {
        let (run, life) = match peer {
            Peer::Server(server) => (self.processes[server].run, self.processes[server].life()),
            Peer::Sentinel(sentinel) => (self.sentinels[sentinel].run, self.sentinels[sentinel].life),
            Peer::Operator(_) | Peer::Client(_) => return None,
        };
        (life != Life::Down).then_some(run)
    }

    /// Carries what a Sentinel does to where it goes.
    fn carry(&mut self, sentinel: usize, out: Vec<Out>) {
        for one in out {
            match one {
                Out::Dial { connection, host, port, kind } => {
                    let (key, to) = ((sentinel, connection), self.find_peer(&host, port));
                    let route =
                        Route { to, kind, open: None, postponed: vec![], session: Session::default() };
                    self.routes.insert(key, route);
                    match to {
                        Some(to) => {
                            let dialled = Event::Watch(WatchEvent::Dialled { key });
                            self.send(Peer::Sentinel(sentinel), to, dialled);
                        }
                        // No machine has that address.
                        None => self.ended(key),
                    }
                }
                Out::Ask { connection, ask } => {
                    let key = (sentinel, connection);
                    if let Some(to) = self.routes.get(&key).and_then(|route| route.to) {
                        let asked = Event::Watch(WatchEvent::Asked { key, ask });
                        self.send(Peer::Sentinel(sentinel), to, asked);
                    }
                }
                Out::Close { connection } => self.leave((sentinel, connection)),
                Out::Event { channel, text } => {
                    self.note(Happened::Sentinel { sentinel, channel, text });
                }
            }
        }
    }

    /// The Sentinel's side closes a connection.
    fn leave(&mut self, key: Key) {
        match self.routes.get(&key).and_then(|route| route.to) {
            Some(to) => {
                self.send(Peer::Sentinel(key.0), to, Event::Watch(WatchEvent::Left { key }));
            }
            None => drop(self.routes.remove(&key)),
        }
    }

    /// The other side has ended it, or never accepted it.
    fn ended(&mut self, key: Key) {
        self.came(key, Input::Ended { connection: key.1 });
    }

    fn came(&mut self, key: Key, input: Input) {
        let (sentinel, run) = (key.0, self.sentinels[key.0].run);
        let from = self.routes.get(&key).and_then(|route| route.to).unwrap_or(Peer::Sentinel(sentinel));
        let came = Event::Watch(WatchEvent::Came { sentinel, run, input });
        self.send(from, Peer::Sentinel(sentinel), came);
    }

    /// A server or a Sentinel ends connections of Sentinels: all, or those of a kind, but one.
    pub(super) fn end_routes(&mut self, of: Peer, kind: Option<Kind>, but: Option<Key>) {
        let is_one = |(key, route): (&Key, &Route)| {
            let is_kind = kind.is_none_or(|kind| route.kind == kind);
            (route.to == Some(of) && route.open.is_some() && is_kind && Some(*key) != but).then_some(*key)
        };
        for key in self.routes.iter().filter_map(is_one).collect::<Vec<_>>() {
            if let Some(route) = self.routes.get_mut(&key) {
                route.open = None;
                route.postponed.clear();
            }
            self.ended(key);
        }
    }

    fn on_ask(&mut self, key: Key, ask: Ask) {
        let Some(route) = self.routes.get(&key) else { return };
        let (Some(to), Some(run)) = (route.to, route.open) else { return };
        let asked = || Event::Watch(WatchEvent::Asked { key, ask: ask.clone() });
        match to {
            Peer::Server(server) if self.takes(server, run, asked) => {
                let is_paused = self.processes[server].paused_until_us > self.now_us;
                let Some(route) = self.routes.get_mut(&key) else { return };
                if is_paused && (matches!(ask, Ask::Hello(_)) || !route.postponed.is_empty()) {
                    route.postponed.push(ask);
                } else {
                    self.on_server_asked(server, key, ask);
                }
            }
            Peer::Sentinel(sentinel) if self.sentinel_takes(sentinel, run, asked) => {
                let (answer, out) = self.sentinels[sentinel].answer(self.now_us, &ask);
                self.carry(sentinel, out);
                if let Some(answer) = answer {
                    self.came(key, Input::Answered { connection: key.1, answer });
                }
            }
            Peer::Server(_) | Peer::Sentinel(_) | Peer::Operator(_) | Peer::Client(_) => {}
        }
    }

    /// A write pause is over: what waited for that is carried out.
    pub(super) fn run_postponed(&mut self, server: usize) {
        if self.processes[server].paused_until_us > self.now_us {
            return;
        }
        let waits = |(key, route): (&Key, &Route)| {
            (route.to == Some(Peer::Server(server)) && !route.postponed.is_empty()).then_some(*key)
        };
        for key in self.routes.iter().filter_map(waits).collect::<Vec<_>>() {
            let postponed = self.routes.get_mut(&key).map(|route| std::mem::take(&mut route.postponed));
            for ask in postponed.into_iter().flatten() {
                self.on_server_asked(server, key, ask);
            }
        }
    }

    fn on_server_asked(&mut self, server: usize, key: Key, ask: Ask) {
        let answer = match ask {
            Ask::Ping => {
                // A master that cannot write its files answers PING with MISCONF.
                let process = &self.processes[server];
                let is_broken = process.broken_file().is_some() && process.server.role == Role::Master;
                Answer::Pong { is_good: !is_broken }
            }
            Ask::Info => Answer::Info(Box::new(self.said(server))),
            Ask::Hello(text) => {
                self.publish(server, text);
                Answer::Published
            }
            // Its replies are not looked at: INFO tells.
            Ask::Follow(master) => return self.follow_in_transaction(server, key, master),
            // Only Sentinels are asked that.
            Ask::Down { .. } => return,
        };
        self.came(key, Input::Answered { connection: key.1, answer });
    }

    /// A message reaches those that listen at this server, and grows the stream of a master.
    fn publish(&mut self, server: usize, text: String) {
        let process = &mut self.processes[server];
        if process.server.role == Role::Master && process.backlog.is_some() {
            process.server.offset += HELLO_BYTES + text.len() as u64;
            self.feed(server, false);
        }
        let hears = |(key, route): (&Key, &Route)| {
            let is_one = route.kind == Kind::Subscription && route.open.is_some();
            (is_one && route.to == Some(Peer::Server(server))).then_some(*key)
        };
        for key in self.routes.iter().filter_map(hears).collect::<Vec<_>>() {
            self.came(key, Input::Heard { connection: key.1, text: text.clone() });
        }
    }

    /// `sentinelSendSlaveOf`.
    fn follow_in_transaction(&mut self, server: usize, key: Key, master: Option<(String, u16)>) {
        let to = master.map_or_else(|| ["NO".into(), "ONE".into()], |(host, port)| [host, port.to_string()]);
        let [host, port] = to;
        let commands: [&[&str]; 6] = [
            &["MULTI"],
            &["SLAVEOF", &host, &port],
            &["CONFIG", "REWRITE"],
            &["CLIENT", "KILL", "TYPE", "normal"],
            &["CLIENT", "KILL", "TYPE", "pubsub"],
            &["EXEC"],
        ];
        let Some(route) = self.routes.get_mut(&key) else { return };
        let mut session = std::mem::take(&mut route.session);
        let mut reply = String::new();
        for command in commands {
            let words = command.iter().map(|word| (*word).to_owned()).collect();
            self.command(server, Peer::Sentinel(key.0), key.1, &mut session, words, &mut reply);
        }
        if let Some(route) = self.routes.get_mut(&key) {
            route.session = session;
        }
    }

    /// INFO, as a Sentinel reads it.
    fn said(&self, server: usize) -> Said {
        let view = self.view(server);
        let (follows, is_linked, link_down_s) = match &view.role {
            Role::Master | Role::Unsaid => (None, false, None),
            Role::Replica(link) => {
                let down_s = link.down_s.map_or(-1, |down_s| i64::try_from(down_s).unwrap_or(i64::MAX));
                (Some((link.host.clone(), link.port)), link.up, (!link.up).then_some(down_s))
            }
        };
        Said {
            run_id: view.run_id,
            follows,
            is_linked,
            link_down_s,
            priority: view.priority,
            offset: if view.is_placeless { 1 } else { view.offset },
            replicas: view.attached.iter().map(|row| (row.host.clone(), row.port)).collect(),
        }
    }
}

/// `PUBLISH` of a hello in the stream, beside its text.
const HELLO_BYTES: u64 = 53;
