//! One server over its processes: what runs, what its disk has, how it starts and ends.

use super::data::{Place, Streams};
use super::disk::{Appended, Disk, Files, History, Snapshot};
use super::link::{Attached, LinkPhase, Upstream};
use super::network::Peer;
use super::{Cluster, Event, Happened};
use crate::has::{Dialect, Role, Row, Server, id40};
use std::collections::BTreeMap;

/// A server, running or not.
#[derive(Clone, Debug)]
pub struct Process {
    /// What it says; offsets of others, links and times are made by [`Cluster::view`].
    pub(super) server: Server,
    /// Numbers its processes.
    pub(super) run: u64,
    pub(super) life: Life,
    pub(super) started_us: u64,
    /// The stream that its replication id stands for.
    pub(super) stream: usize,
    /// Offset of the first byte that it can still send again. None: it has no backlog, since it never had a
    /// replica or a master.
    pub(super) backlog: Option<u64>,
    /// It reads a data set until then.
    pub(super) loading_until_us: Option<u64>,
    pub(super) paused_until_us: u64,
    /// As it starts with, and as it is now: CONFIG SET is forgotten at a restart.
    pub(super) file: BTreeMap<String, String>,
    pub(super) config: BTreeMap<String, String>,
    pub(super) upstream: Option<Upstream>,
    /// It can ask a master for the continuation of its own stream: it was linked to one, was one itself, or
    /// has read a file that says where it was. Redis' cached master.
    pub(super) has_place: bool,
    /// When its link to a master went down, whichever master that was. None: it is up, or never was.
    pub(super) down_since_us: Option<u64>,
    /// By the index of the replica.
    pub(super) attached: BTreeMap<usize, Attached>,
    pub(super) disk: Disk,
    /// Commands that it refuses, in upper case.
    pub(super) refused: Vec<String>,
    /// It wants another password than the operator's.
    pub(super) is_locked: bool,
    /// It is at maxmemory: it refuses writes, and whatever is queued within MULTI.
    pub(super) is_full: bool,
    /// Its files cannot be written: it refuses writes, if it writes files at all.
    pub(super) has_bad_disk: bool,
    /// A full copy that is being read has replaced its data.
    pub(super) is_emptied: bool,
    /// What arrived while it stood still.
    pub(super) unread: Vec<Event>,
    cron_is_due: bool,
}

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Up,
    /// It stands still: SIGSTOP, a paused machine, a slow disk.
    Stopped,
    /// There is no process.
    Down,
}

/// How a server starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// As a replica of itself.
    Itself,
    /// As a master.
    Master,
    /// As a replica of that server.
    Following(usize),
}

impl Process {
    /// What it has and says.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Whether it runs.
    pub fn life(&self) -> Life {
        self.life
    }

    /// It runs, and reads no file.
    pub fn is_serving(&self) -> bool {
        self.life == Life::Up && self.loading_until_us.is_none()
    }

    /// Its link to its master.
    pub fn upstream(&self) -> Option<&Upstream> {
        self.upstream.as_ref()
    }

    /// It refuses every login of an operator.
    pub fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// Whether it refuses a command, in upper case.
    pub fn refuses(&self, command: &str) -> bool {
        self.refused.iter().any(|refused| refused == command)
    }

    /// A directive's value.
    pub fn directive(&self, name: &str) -> Option<&str> {
        self.config.get(name).map(String::as_str)
    }

    pub(super) fn data(&self, streams: &Streams) -> (Place, u64) {
        if self.is_emptied {
            return (Place::default(), 0);
        }
        streams.data(self.stream, self.server.offset)
    }

    /// The row of INFO persistence that shows a file which cannot be written.
    pub(super) fn broken_file(&self) -> Option<&'static str> {
        match self.disk.files {
            Files::Rdb if self.has_bad_disk => Some("rdb_last_bgsave_status"),
            Files::Aof if self.has_bad_disk => Some("aof_last_write_status"),
            Files::None | Files::Rdb | Files::Aof => None,
        }
    }

    pub(super) fn stored(&self) -> Option<Place> {
        match self.disk.files {
            Files::None => None,
            Files::Rdb => self.disk.snapshot.as_ref().map(|snapshot| snapshot.place),
            Files::Aof => Some(self.disk.appended.place),
        }
    }

    pub(super) fn number(&self, name: &str) -> u64 {
        self.config.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }
}

impl Cluster {
    /// Adds a server to the group that is not started yet.
    pub fn add(&mut self, server: Server, files: Files, config: &[(&str, &str)]) -> usize {
        let number = self.members.len();
        let server = self.add_process(server, files, config, Some(number));
        self.members.push(server);
        server
    }

    pub(super) fn add_process(
        &mut self,
        server: Server,
        files: Files,
        config: &[(&str, &str)],
        number: Option<usize>,
    ) -> usize {
        let stream = self.streams.begin(Place::default(), 0);
        let config = DIRECTIVES.iter().chain(config).map(|(name, value)| ((*name).into(), (*value).into()));
        let config: BTreeMap<String, String> = config.collect();
        let empty = Appended::default();
        let disk = Disk { files, snapshot: None, appended: empty, synced: empty };
        self.numbers_in_group.push(number);
        self.processes.push(Process {
            server,
            run: 0,
            life: Life::Down,
            started_us: 0,
            stream,
            backlog: None,
            loading_until_us: None,
            paused_until_us: 0,
            file: config.clone(),
            config,
            upstream: None,
            has_place: false,
            down_since_us: None,
            attached: BTreeMap::new(),
            disk,
            refused: vec![],
            is_locked: false,
            is_full: false,
            has_bad_disk: false,
            is_emptied: false,
            unread: vec![],
            cron_is_due: false,
        });
        self.processes.len() - 1
    }

    /// Where a server is.
    pub(super) fn place(&self, server: usize) -> (String, u16) {
        let server = &self.processes[server].server;
        (server.host.clone(), server.port)
    }

    /// Starts a process from the server's files. No effect if one runs.
    pub fn start(&mut self, server: usize, boot: Boot) {
        if self.processes[server].life != Life::Down {
            return;
        }
        let before = self.data(server);
        let fresh = format!("run {server} {}", self.number());
        let following = match boot {
            Boot::Master => None,
            Boot::Itself => Some(server),
            Boot::Following(master) => Some(master),
        };
        let address = following.map(|master| self.place(master));
        let (now_us, load_us) = (self.now_us, self.timing.load_us);
        let streams = &mut self.streams;
        let process = &mut self.processes[server];
        process.config = process.file.clone();
        process.server.run_id = id40(&format!("{:x}", hash(&fresh)));
        (process.server.replid, process.server.former) = (id40(&format!("{:x}", hash(&fresh) >> 7)), None);
        (process.server.offset, process.backlog, process.has_place) = (0, None, false);
        let is_continued = following.is_some() || process.server.dialect >= Dialect::Redis7;
        let has_data = match (process.disk.files, process.disk.snapshot.clone()) {
            (Files::Aof, _) => {
                // A new history, with all the data.
                let Appended { place, keys, offset } = process.disk.appended;
                process.stream = streams.begin(place, keys);
                // Since 8.0 of Redis the file says where it was, and still not in which history.
                process.server.offset = if process.server.dialect == Dialect::Redis8 { offset } else { 0 };
                keys > 0
            }
            (Files::Rdb, Some(Snapshot { history: Some(history), .. })) if is_continued => {
                let History { stream, replid, offset } = history;
                process.server.offset = offset;
                if following.is_some() {
                    (process.stream, process.server.replid, process.has_place) = (stream, replid, true);
                } else {
                    // Since 7.0 a master continues, under a new id, the history of its file.
                    process.stream = streams.grow(stream, offset);
                    process.server.former = Some((replid, offset));
                    process.backlog = Some(offset + 1);
                }
                true
            }
            (Files::Rdb, Some(Snapshot { place, keys, .. })) => {
                process.stream = streams.begin(place, keys);
                true
            }
            (Files::Rdb, None) | (Files::None, _) => {
                process.stream = streams.begin(Place::default(), 0);
                false
            }
        };
        (process.disk.appended.offset, process.disk.synced.offset) =
            (process.server.offset, process.server.offset);
        match address {
            Some((host, port)) => {
                process.server.replicate(&host, port);
            }
            None => process.server.role = Role::Master,
        }
        process.server.loaded = if has_data { process.data(streams).1 } else { 0 };
        process.run += 1;
        process.life = Life::Up;
        process.started_us = now_us;
        (process.paused_until_us, process.is_emptied, process.down_since_us) = (0, false, None);
        process.upstream = following.map(|master| Upstream::new(Some(master), now_us));
        process.attached.clear();
        process.unread.clear();
        process.loading_until_us = has_data.then_some(now_us + load_us);
        let (run, after) = (process.run, process.data(&self.streams).0);
        self.note(Happened::Booted { server, before, after });
        if has_data {
            self.at(now_us + load_us, Event::Loaded { server, run });
        } else {
            self.reconnect(server);
        }
        self.at(now_us + SECOND_US, Event::Cron { server, run });
    }

    /// Ends a process, as SIGKILL does. Its files keep what was written to them; if the power fails, what was
    /// on the disk.
    pub fn kill(&mut self, server: usize, power_fails: bool) {
        let process = &mut self.processes[server];
        if process.life == Life::Down {
            return;
        }
        if power_fails {
            process.disk.appended = process.disk.synced;
        }
        process.life = Life::Down;
        process.loading_until_us = None;
        process.unread.clear();
        self.end_links(server);
        self.end_connections(server);
        self.end_client_connections(server);
    }

    /// Stops a process, as SIGSTOP does.
    pub fn stop(&mut self, server: usize) {
        if self.processes[server].life == Life::Up {
            self.processes[server].life = Life::Stopped;
        }
    }

    /// Lets a stopped process run again: what has arrived in the meantime happens now, in its order.
    pub fn resume(&mut self, server: usize) {
        if self.processes[server].life != Life::Stopped {
            return;
        }
        self.processes[server].life = Life::Up;
        let unread = std::mem::take(&mut self.processes[server].unread);
        for event in unread {
            match event {
                Event::Link(event) => self.on_link(event),
                Event::Network(event) => self.on_network(event),
                Event::Client(event) => self.on_client(event),
                Event::Watch(event) => self.on_watch(event),
                Event::Loaded { server, run } => self.on_loaded(server, run),
                Event::PauseOver { server, run } => self.on_pause_over(server, run),
                Event::Cron { .. } => {}
            }
        }
        if std::mem::take(&mut self.processes[server].cron_is_due) {
            let run = self.processes[server].run;
            self.on_cron(server, run);
        }
    }

    /// Writes a snapshot, as BGSAVE does.
    pub fn save(&mut self, server: usize) {
        let (place, keys) = self.processes[server].data(&self.streams);
        let process = &mut self.processes[server];
        if process.is_serving() && process.disk.files == Files::Rdb {
            let is_linked = process.upstream.as_ref().is_some_and(|link| link.phase() == LinkPhase::Up);
            let is_streaming = process.server.role == Role::Master && process.backlog.is_some();
            let history = (is_linked || is_streaming || process.has_place).then(|| History {
                stream: process.stream,
                replid: process.server.replid.clone(),
                offset: process.server.offset,
            });
            process.disk.snapshot = Some(Snapshot { history, place, keys });
        }
    }

    /// What the server would say at this moment.
    pub fn view(&self, server: usize) -> Server {
        let process = &self.processes[server];
        let mut view = process.server.clone();
        view.uptime_s = (self.now_us - process.started_us) / SECOND_US;
        view.loading = process.loading_until_us.is_some();
        view.keys = if view.loading { 0 } else { process.data(&self.streams).1 };
        view.aof = process.disk.files == Files::Aof;
        view.priority = process.number("replica-priority");
        let is_linked = process.upstream.as_ref().is_some_and(|link| link.phase() == LinkPhase::Up);
        view.is_placeless = process.server.role != Role::Master && !is_linked && !process.has_place;
        if let Some(row) = process.broken_file() {
            view.rows.insert(row.into(), Some("err".into()));
        }
        for (replica, attached) in &process.attached {
            let at = &self.processes[*replica].server;
            view.attached.push(Row {
                host: at.host.clone(),
                port: at.port,
                state: attached.state().into(),
                offset: attached.acked,
                lag_s: (self.now_us - attached.acked_us) / SECOND_US,
            });
        }
        if process.number("min-replicas-to-write") > 0 {
            view.good_replicas = Some(self.good_replicas(server));
        }
        self.show_link(server, &mut view);
        view
    }

    /// Whether a client's write would be carried out now.
    pub fn is_writable(&self, server: usize) -> bool {
        let process = &self.processes[server];
        process.is_serving()
            && process.server.role == Role::Master
            && process.paused_until_us <= self.now_us
            && !process.is_full
            && process.broken_file().is_none()
            && process.number("min-replicas-to-write") <= self.good_replicas(server)
    }

    pub(super) fn good_replicas(&self, server: usize) -> u64 {
        let process = &self.processes[server];
        let lag_us = process.number("min-replicas-max-lag") * SECOND_US;
        let is_good = |attached: &&Attached| attached.is_online && self.now_us - attached.acked_us <= lag_us;
        process.attached.values().filter(is_good).count() as u64
    }

    /// Whether this run of the server can take an event now. Keeps it for later, if it stands still.
    pub(super) fn takes(&mut self, server: usize, run: u64, event: impl FnOnce() -> Event) -> bool {
        let process = &mut self.processes[server];
        match process.life {
            Life::Up => process.run == run,
            Life::Stopped if process.run == run => {
                process.unread.push(event());
                false
            }
            Life::Stopped | Life::Down => false,
        }
    }

    pub(super) fn on_loaded(&mut self, server: usize, run: u64) {
        if !self.takes(server, run, || Event::Loaded { server, run }) {
            return;
        }
        self.processes[server].loading_until_us = None;
        if !self.finish_copy(server) {
            self.reconnect(server);
        }
    }

    pub(super) fn on_cron(&mut self, server: usize, run: u64) {
        let process = &mut self.processes[server];
        if process.run != run || process.life == Life::Down {
            return;
        }
        self.at(self.now_us + SECOND_US, Event::Cron { server, run });
        let process = &mut self.processes[server];
        if process.life == Life::Stopped {
            process.cron_is_due = true;
            return;
        }
        process.disk.synced = process.disk.appended;
        self.on_acknowledged(server);
        self.replication_cron(server);
    }

    pub(super) fn on_pause_over(&mut self, server: usize, run: u64) {
        if self.takes(server, run, || Event::PauseOver { server, run })
            && self.processes[server].paused_until_us <= self.now_us
        {
            self.run_paused(server);
        }
    }

    /// The data of a server changed: its append-only file follows.
    pub(super) fn append(&mut self, server: usize) {
        let (place, keys) = self.processes[server].data(&self.streams);
        let offset = self.processes[server].server.offset;
        self.processes[server].disk.appended = Appended { place, keys, offset };
    }

    pub(super) fn peer(&self, server: usize) -> Peer {
        Peer::Server(server)
    }
}

/// FNV-1a: any spread of names over ids is a good one.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

pub(super) const SECOND_US: u64 = 1_000_000;

/// The directives that an operator reads or sets, as Redis starts with them.
const DIRECTIVES: [(&str, &str); 7] = [
    ("min-replicas-max-lag", "10"),
    ("min-replicas-to-write", "0"),
    ("repl-ping-replica-period", "1"),
    ("repl-timeout", "60"),
    ("replica-priority", "100"),
    ("save", "3600 1"),
    ("stop-writes-on-bgsave-error", "yes"),
];
