//! What people and machines do to a server: another address, another volume or configuration, no memory, no
//! disk, no rights.

use super::Cluster;
use super::disk::{Appended, Files};
use super::network::Peer;
use super::process::Boot;
use crate::has::Server;

impl Cluster {
    /// A server that does not run gets another address; the former one is that of a master of another group
    /// from now on. Returns the stranger.
    pub fn reuse_address(&mut self, server: usize, to: &str) -> usize {
        let mut stranger = Server::new(self.processes.len() + 1);
        (stranger.host, stranger.port) = self.place(server);
        self.processes[server].server.host = to.into();
        let stranger = self.add_process(stranger, Files::None, &[], None);
        self.start(stranger, Boot::Master);
        self.set(stranger, 1);
        stranger
    }

    /// A server that does not run gets another address. Nothing is at the former one.
    pub fn move_to(&mut self, server: usize, host: &str) {
        self.processes[server].server.host = host.into();
    }

    /// Another server gets the number of this one, which may live on: it is not started yet, is at that host,
    /// and has the files of the former one as they are now, or none.
    pub fn succeed(&mut self, server: usize, host: &str, keeps_files: bool) -> usize {
        let before = &self.processes[server];
        let mut next = Server::new(self.processes.len() + 1);
        (next.host, next.dialect) = (host.into(), before.server.dialect);
        next.port = before.server.port;
        let (disk, file) = (before.disk.clone(), before.file.clone());
        let number = self.numbers_in_group[server];
        let next = self.add_process(next, disk.files, &[], number);
        self.processes[next].file = file;
        if keeps_files {
            self.processes[next].disk = disk;
        }
        if let Some(number) = number {
            self.members[number] = next;
        }
        next
    }

    /// `CONFIG SET`, by a person.
    pub fn configure(&mut self, server: usize, name: &str, value: &str) {
        self.processes[server].config.insert(name.into(), value.into());
    }

    /// Makes a server refuse these commands.
    pub fn refuse_commands(&mut self, server: usize, commands: &[String]) {
        self.processes[server].refused = commands.to_vec();
    }

    /// Brings a server to maxmemory.
    pub fn fill_memory(&mut self, server: usize) {
        self.processes[server].is_full = true;
    }

    /// Breaks the disk of a server.
    pub fn break_disk(&mut self, server: usize) {
        self.processes[server].has_bad_disk = true;
    }

    /// Its password is another one from now on, and operators have to log in anew.
    pub fn lock(&mut self, server: usize) {
        self.processes[server].is_locked = true;
        self.end_operators(Peer::Server(server), None);
    }

    /// The server has memory and a disk again, and refuses no command and no login.
    pub fn ease(&mut self, server: usize) {
        let process = &mut self.processes[server];
        (process.is_full, process.has_bad_disk, process.is_locked) = (false, false, false);
        process.refused.clear();
    }

    /// The volume of a server that does not run is replaced by an empty one.
    pub fn empty_disk(&mut self, server: usize) {
        let disk = &mut self.processes[server].disk;
        disk.snapshot = None;
        (disk.appended, disk.synced) = (Appended::default(), Appended::default());
    }
}
