//! Links between servers, as Redis has them since PSYNC2: the handshake, partial and full copies, the stream
//! and its acknowledgements.

use super::data::Place;
use super::disk::{Files, History, Snapshot};
use super::link::{Attached, Copy, LinkEvent, LinkPhase, Upstream};
use super::process::{Life, Process, SECOND_US};
use super::{Cluster, Event, Happened};
use crate::has::{Dialect, Role, Server, id40};

impl Process {
    /// The oldest bytes of its backlog go.
    fn trim(&mut self, bytes_max: u64) {
        let kept = self.server.offset.saturating_sub(bytes_max) + 1;
        self.backlog = self.backlog.map(|first| first.max(kept));
    }
}

impl Cluster {
    /// `REPLICAOF`. False: it follows this server already.
    pub fn follow(&mut self, server: usize, host: &str, port: u16) -> bool {
        let is_same =
            |role: &Role| matches!(role, Role::Replica(link) if link.host == host && link.port == port);
        if is_same(&self.processes[server].server.role) {
            return false;
        }
        let was_master = self.processes[server].server.role == Role::Master;
        self.leave_master(server);
        let master = self.find(host, port);
        let now_us = self.now_us;
        let process = &mut self.processes[server];
        if was_master {
            // It will ask for the continuation of its own history.
            process.backlog.get_or_insert(process.server.offset + 1);
            process.has_place = true;
        }
        process.server.replicate(host, port);
        process.upstream = Some(Upstream::new(master, now_us));
        // Since 7.0 its replicas stay, until its history is another one.
        if process.server.dialect < Dialect::Redis7 {
            self.detach_all(server);
        }
        if was_master {
            // Writes that waited for the end of a pause get READONLY.
            self.run_paused(server);
        }
        self.reconnect(server);
        true
    }

    pub(super) fn show_link(&self, server: usize, view: &mut Server) {
        let Some(upstream) = &self.processes[server].upstream else { return };
        let Some(link) = view.master_link() else { return };
        link.up = upstream.phase == LinkPhase::Up;
        link.syncing = upstream.phase == LinkPhase::Copying;
        link.last_io_s = link.up.then(|| (self.now_us - upstream.last_io_us) / SECOND_US);
        let down_since_us = self.processes[server].down_since_us;
        link.down_s = down_since_us.map(|since_us| (self.now_us - since_us) / SECOND_US);
    }

    /// Begins a handshake with the master that it names.
    pub(super) fn reconnect(&mut self, replica: usize) {
        let link = self.number();
        // Whoever has that address now.
        let master = match &self.processes[replica].server.role {
            Role::Replica(link) => self.find(&link.host, link.port),
            Role::Master | Role::Unsaid => None,
        };
        let process = &mut self.processes[replica];
        let replid = if process.has_place { process.server.replid.clone() } else { NOWHERE.into() };
        let offset = process.server.offset;
        let Some(upstream) = &mut process.upstream else { return };
        upstream.master = master;
        let Some(master) = master.filter(|master| *master != replica) else { return };
        (upstream.link, upstream.phase, upstream.last_io_us) = (link, LinkPhase::Connecting, self.now_us);
        let asked = LinkEvent::Asked { replica, link, master, replid, offset };
        self.send(self.peer(replica), self.peer(master), Event::Link(asked));
    }

    /// The second of a server that runs: acknowledges, pings, reconnects, gives up silent peers.
    pub(super) fn replication_cron(&mut self, server: usize) {
        if self.processes[server].loading_until_us.is_some() {
            return;
        }
        if let Some(upstream) = self.processes[server].upstream.clone() {
            let is_late = self.now_us - upstream.last_io_us > self.timing.repl_timeout_us;
            match upstream.phase {
                LinkPhase::Up if is_late => {
                    self.tell_detached(server);
                    self.link_down(server);
                    self.reconnect(server);
                }
                LinkPhase::Up => self.acknowledge(server),
                LinkPhase::Connecting | LinkPhase::Copying if is_late => {
                    self.tell_detached(server);
                    self.link_down(server);
                    self.reconnect(server);
                }
                LinkPhase::Connecting | LinkPhase::Copying => {}
                LinkPhase::Down => self.reconnect(server),
            }
        }
        let (now_us, timeout_us) = (self.now_us, self.timing.repl_timeout_us);
        let process = &mut self.processes[server];
        process
            .attached
            .retain(|_, attached| now_us - attached.acked_us <= timeout_us || !attached.is_online);
        let is_ping = (now_us / SECOND_US).is_multiple_of((self.timing.ping_us / SECOND_US).max(1));
        if is_ping {
            self.ping(server);
        }
    }

    /// A master sends its replicas a `PING`.
    pub fn ping(&mut self, server: usize) {
        let process = &mut self.processes[server];
        if process.server.role == Role::Master && !process.attached.is_empty() {
            process.server.offset += PING_BYTES;
            self.feed(server, false);
        }
    }

    /// A master carries out a write: its stream grows. Returns where the write stands.
    pub(super) fn append_write(&mut self, server: usize, bytes: u64, new_keys: u64) -> super::WriteAt {
        let (place, keys) = self.processes[server].data(&self.streams);
        let (place, at) = self.tree.write(place);
        let process = &mut self.processes[server];
        process.server.offset += bytes;
        // The first write makes a key, whatever the next ones do.
        let keys = (keys + new_keys).max(1);
        self.streams.write(process.stream, process.server.offset, place, keys);
        process.trim(self.timing.backlog_bytes);
        self.append(server);
        self.feed(server, false);
        at
    }

    /// Sends the stream, as far as it is, to the replicas that get it.
    pub(super) fn feed(&mut self, server: usize, asks: bool) {
        let process = &self.processes[server];
        let offset = process.server.offset;
        let online = process.attached.iter().filter(|(_, attached)| attached.is_online);
        let online: Vec<(usize, u64)> = online.map(|(replica, attached)| (*replica, attached.link)).collect();
        for (replica, link) in online {
            let stream = LinkEvent::Stream { replica, link, offset, asks };
            self.send(self.peer(server), self.peer(replica), Event::Link(stream));
        }
    }

    /// How many replicas have acknowledged an offset.
    pub(super) fn acknowledged(&self, server: usize, offset: u64) -> usize {
        let is_there = |attached: &&Attached| attached.is_online && attached.acked >= offset;
        self.processes[server].attached.values().filter(is_there).count()
    }

    /// Whether an offset is on the disk of a server, and on how many of its replicas'.
    pub(super) fn on_disks(&self, server: usize, offset: u64) -> (bool, usize) {
        let process = &self.processes[server];
        let has = |attached: &&Attached| {
            attached.is_online && attached.synced.is_some_and(|synced| synced >= offset)
        };
        let is_local = process.disk.files == Files::Aof && process.disk.synced.offset >= offset;
        (is_local, process.attached.values().filter(has).count())
    }

    pub(super) fn on_link(&mut self, event: LinkEvent) {
        let receiver = match &event {
            LinkEvent::Asked { master, .. }
            | LinkEvent::Snapshot { master, .. }
            | LinkEvent::Acked { master, .. }
            | LinkEvent::Detached { master, .. } => *master,
            LinkEvent::Refused { replica, .. }
            | LinkEvent::Continues { replica, .. }
            | LinkEvent::Promised { replica, .. }
            | LinkEvent::Copied { replica, .. }
            | LinkEvent::Stream { replica, .. }
            | LinkEvent::Ended { replica, .. } => *replica,
        };
        if self.processes[receiver].life == Life::Down {
            if let LinkEvent::Asked { replica, link, master, .. } = event {
                let refused = Event::Link(LinkEvent::Refused { replica, link });
                self.send(self.peer(master), self.peer(replica), refused);
            }
            return;
        }
        let run = self.processes[receiver].run;
        if !self.takes(receiver, run, || Event::Link(event.clone())) {
            return;
        }
        match event {
            LinkEvent::Asked { replica, link, master, replid, offset } => {
                self.on_psync(replica, link, master, &replid, offset);
            }
            LinkEvent::Snapshot { master, run, replica, link } => {
                self.on_snapshot(master, run, replica, link)
            }
            LinkEvent::Acked { master, replica, link, offset, synced } => {
                self.on_ack(master, replica, link, (offset, synced));
            }
            LinkEvent::Detached { master, replica, link } => {
                self.processes[master]
                    .attached
                    .retain(|known, attached| *known != replica || attached.link != link);
            }
            LinkEvent::Refused { replica, link } | LinkEvent::Ended { replica, link } => {
                if self.is_link(replica, link) {
                    let was_up = self.phase(replica) == Some(LinkPhase::Up);
                    self.link_down(replica);
                    if was_up {
                        self.reconnect(replica);
                    }
                }
            }
            LinkEvent::Continues { replica, link, stream, replid, offset } => {
                self.on_continue(replica, link, stream, replid, offset);
            }
            LinkEvent::Promised { replica, link } => {
                if self.is_link(replica, link)
                    && let Some(upstream) = &mut self.processes[replica].upstream
                {
                    (upstream.phase, upstream.last_io_us) = (LinkPhase::Copying, self.now_us);
                    self.processes[replica].has_place = false;
                }
            }
            LinkEvent::Copied { replica, link, copy } => self.on_copied(replica, link, copy),
            LinkEvent::Stream { replica, link, offset, asks } => self.on_stream(replica, link, offset, asks),
        }
    }

    /// `masterTryPartialResynchronization`, and the full copy where it does not apply.
    fn on_psync(&mut self, replica: usize, link: u64, master: usize, replid: &str, offset: u64) {
        let at = &self.processes[master];
        let is_serving = at.loading_until_us.is_none()
            && (at.server.role == Role::Master || self.phase(master) == Some(LinkPhase::Up));
        if !is_serving {
            let refused = Event::Link(LinkEvent::Refused { replica, link });
            return self.send(self.peer(master), self.peer(replica), refused);
        }
        let is_kept = at.backlog.is_some_and(|first| offset + 1 >= first) && offset <= at.server.offset;
        let is_former = at.server.former.as_ref().is_some_and(|(id, end)| id == replid && offset <= *end);
        let continues = is_kept && (at.server.replid == replid || is_former);
        let attached = Attached {
            link,
            is_online: continues,
            is_sent: continues,
            acked: 0,
            acked_us: self.now_us,
            synced: None,
        };
        let at = &mut self.processes[master];
        if at.backlog.is_none() {
            // A backlog from scratch has no past.
            at.server.replid = id40(&format!("b{master}x{link}"));
            at.server.former = None;
            at.stream = self.streams.grow(at.stream, at.server.offset);
            at.backlog = Some(at.server.offset + 1);
        }
        at.attached.insert(replica, attached);
        if continues {
            let (stream, replid, offset) = (at.stream, at.server.replid.clone(), at.server.offset);
            let continues = LinkEvent::Continues { replica, link, stream, replid, offset };
            self.send(self.peer(master), self.peer(replica), Event::Link(continues));
        } else {
            let run = at.run;
            self.send(
                self.peer(master),
                self.peer(replica),
                Event::Link(LinkEvent::Promised { replica, link }),
            );
            let snapshot = Event::Link(LinkEvent::Snapshot { master, run, replica, link });
            self.at(self.now_us + self.timing.copy_delay_us, snapshot);
        }
    }

    fn on_snapshot(&mut self, master: usize, run: u64, replica: usize, link: u64) {
        let at = &mut self.processes[master];
        let Some(attached) = at.attached.get_mut(&replica).filter(|attached| attached.link == link) else {
            return;
        };
        if at.run != run {
            return;
        }
        attached.is_sent = true;
        let copy =
            Copy { master, stream: at.stream, replid: at.server.replid.clone(), offset: at.server.offset };
        // The transfer takes its time and then the way of any byte.
        let copied = Event::Link(LinkEvent::Copied { replica, link, copy });
        if self.is_cut((self.peer(master), self.peer(replica))) {
            self.send(self.peer(master), self.peer(replica), copied);
        } else {
            self.at(self.now_us + self.timing.transfer_us, copied);
        }
    }

    /// The replica drops its data and reads the copy.
    fn on_copied(&mut self, replica: usize, link: u64, copy: Copy) {
        if !self.is_link(replica, link) || self.phase(replica) != Some(LinkPhase::Copying) {
            return;
        }
        let (before, after) = (self.data(replica), self.streams.data(copy.stream, copy.offset));
        let (master, until_us) = (copy.master, self.now_us + self.timing.load_us);
        let process = &mut self.processes[replica];
        process.loading_until_us = Some(until_us);
        process.is_emptied = true;
        let run = process.run;
        if process.disk.files == Files::Rdb {
            let history = History { stream: copy.stream, replid: copy.replid.clone(), offset: copy.offset };
            process.disk.snapshot = Some(Snapshot { history: Some(history), place: after.0, keys: after.1 });
        }
        if let Some(upstream) = &mut process.upstream {
            upstream.copy = Some(copy);
        }
        self.detach_all(replica);
        self.note(Happened::Overwritten { server: replica, master, before, after: after.0 });
        self.at(until_us, Event::Loaded { server: replica, run });
    }

    /// A copy was read: the replica has the master's history. False: none was.
    pub(super) fn finish_copy(&mut self, replica: usize) -> bool {
        let process = &mut self.processes[replica];
        let Some(upstream) = &mut process.upstream else { return false };
        let Some(copy) = upstream.copy.take() else { return false };
        (process.is_emptied, process.stream) = (false, copy.stream);
        (process.server.replid, process.server.offset, process.server.former) =
            (copy.replid, copy.offset, None);
        process.backlog = Some(copy.offset + 1);
        if upstream.phase == LinkPhase::Copying {
            (upstream.phase, upstream.last_io_us, process.down_since_us) = (LinkPhase::Up, self.now_us, None);
        }
        self.append(replica);
        let process = &mut self.processes[replica];
        process.disk.synced = process.disk.appended;
        if self.phase(replica) == Some(LinkPhase::Down) {
            self.reconnect(replica);
        }
        true
    }

    fn on_continue(&mut self, replica: usize, link: u64, stream: usize, replid: String, offset: u64) {
        if !self.is_link(replica, link) {
            return;
        }
        let process = &mut self.processes[replica];
        process.backlog.get_or_insert(process.server.offset + 1);
        let is_other = process.server.replid != replid;
        if is_other {
            process.server.former =
                Some((std::mem::replace(&mut process.server.replid, replid), process.server.offset));
        }
        (process.stream, process.server.offset) = (stream, offset);
        if let Some(upstream) = &mut process.upstream {
            (upstream.phase, upstream.last_io_us, process.down_since_us) = (LinkPhase::Up, self.now_us, None);
        }
        if is_other {
            self.detach_all(replica);
        } else {
            self.feed(replica, false);
        }
        self.append(replica);
        self.acknowledge(replica);
    }

    fn on_stream(&mut self, replica: usize, link: u64, offset: u64, asks: bool) {
        if !self.is_link(replica, link) || self.phase(replica) != Some(LinkPhase::Up) {
            return;
        }
        let (now_us, backlog_bytes) = (self.now_us, self.timing.backlog_bytes);
        let process = &mut self.processes[replica];
        process.server.offset = process.server.offset.max(offset);
        process.trim(backlog_bytes);
        if let Some(upstream) = &mut process.upstream {
            upstream.last_io_us = now_us;
        }
        self.append(replica);
        self.feed(replica, asks);
        if asks {
            self.acknowledge(replica);
        }
    }

    fn on_ack(&mut self, master: usize, replica: usize, link: u64, (offset, synced): (u64, Option<u64>)) {
        let now_us = self.now_us;
        let at = &mut self.processes[master];
        let Some(attached) = at.attached.get_mut(&replica).filter(|attached| attached.link == link) else {
            return;
        };
        (attached.acked, attached.acked_us, attached.synced) = (offset, now_us, synced);
        if attached.is_sent && !attached.is_online {
            // The stream behind a full copy begins with the replica's first acknowledgement.
            attached.is_online = true;
            let offset = at.server.offset;
            let stream = LinkEvent::Stream { replica, link, offset, asks: false };
            self.send(self.peer(master), self.peer(replica), Event::Link(stream));
        }
        self.on_acknowledged(master);
    }

    fn acknowledge(&mut self, replica: usize) {
        let process = &self.processes[replica];
        let Some(upstream) = process.upstream.as_ref() else { return };
        let Some(master) = upstream.master else { return };
        let (link, offset) = (upstream.link, process.server.offset);
        let synced = (process.disk.files == Files::Aof).then_some(process.disk.synced.offset);
        let acked = LinkEvent::Acked { master, replica, link, offset, synced };
        self.send(self.peer(replica), self.peer(master), Event::Link(acked));
    }

    fn is_link(&self, replica: usize, link: u64) -> bool {
        self.processes[replica].upstream.as_ref().is_some_and(|upstream| upstream.link == link)
    }

    fn phase(&self, replica: usize) -> Option<LinkPhase> {
        self.processes[replica].upstream.as_ref().map(|upstream| upstream.phase)
    }

    fn link_down(&mut self, replica: usize) {
        let process = &mut self.processes[replica];
        if let Some(upstream) = &mut process.upstream {
            if upstream.phase == LinkPhase::Up {
                (process.down_since_us, process.has_place) = (Some(self.now_us), true);
            }
            upstream.phase = LinkPhase::Down;
        }
    }

    /// The replica's side of its link ends.
    pub(super) fn leave_master(&mut self, replica: usize) {
        self.tell_detached(replica);
        self.link_down(replica);
        if let Some(upstream) = &mut self.processes[replica].upstream {
            upstream.copy = None;
        }
    }

    fn tell_detached(&mut self, replica: usize) {
        let Some(upstream) = self.processes[replica].upstream.as_ref() else { return };
        let Some(master) = upstream.master.filter(|master| *master != replica) else { return };
        let detached = LinkEvent::Detached { master, replica, link: upstream.link };
        self.send(self.peer(replica), self.peer(master), Event::Link(detached));
    }

    /// The master's side of all its links ends.
    pub(super) fn detach_all(&mut self, server: usize) {
        let attached = std::mem::take(&mut self.processes[server].attached);
        for (replica, attached) in attached {
            let ended = LinkEvent::Ended { replica, link: attached.link };
            self.send(self.peer(server), self.peer(replica), Event::Link(ended));
        }
    }

    pub(super) fn end_links(&mut self, server: usize) {
        self.tell_detached(server);
        self.detach_all(server);
    }

    /// The data of a server that is certainly there: in memory while it runs, else what its files have.
    pub fn kept(&self, server: usize) -> Option<Place> {
        match self.processes[server].life {
            Life::Down => self.stored(server),
            Life::Up | Life::Stopped => Some(self.data(server)),
        }
    }
}

/// `PSYNC ? -1`.
const NOWHERE: &str = "?";
/// `*1\r\n$4\r\nPING\r\n`.
pub const PING_BYTES: u64 = 14;
