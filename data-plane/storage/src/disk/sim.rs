//! A disk in memory that crashes, tears, forgets and fails as its seed says.
//!
//! For every file and directory it keeps what readers see (the page cache) and what would be left
//! after a power loss. A [`Crash::Process`] keeps the page cache; a [`Crash::Power`] keeps of the
//! unsynced sectors, lengths and directory edits what the seed chooses. It is stricter than any
//! one file system: nothing is promised beyond what the call that was made promises.
//! It must not know the engine. Start with [`SimDisk`].

mod content;
mod faults;
mod state;
mod tree;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use self::content::{Content, PAGE_BYTES};
pub use self::faults::{Fault, Op};
use self::faults::{Faults, crashed};
use self::state::{Node, State, Way};
use self::tree::{Directory, Inode, ROOT};
use crate::disk::{Disk, DiskFile, Entry, SyncPoint};
use crate::testkit::Dice;

/// What stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process: what it wrote stays in the page cache, and unsynced.
    Process,
    /// The machine: what was not synced is kept or lost by seed.
    Power,
}

/// A simulated data directory. A clone is another handle to the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

/// An open file of a [`SimDisk`]; it answers errors after the next restart.
pub struct SimFile {
    disk: SimDisk,
    inode: Inode,
    boot: u64,
}

impl SimDisk {
    /// An empty disk; all its choices follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            dice: Dice::new(seed),
            nodes: BTreeMap::from([(ROOT, Node::Directory(Directory::default()))]),
            next_inode: ROOT + 1,
            boot: 0,
            faults: Faults::default(),
            turned_off: BTreeSet::new(),
            syncs: BTreeMap::new(),
            capacity_bytes: None,
            trace: 0xcbf2_9ce4_8422_2325,
            recent: VecDeque::new(),
        })))
    }

    /// A copy of the disk as it is now, whose further choices follow from `seed`. Files that are
    /// open stay with the original.
    #[must_use]
    pub fn fork(&self, seed: u64) -> Self {
        let state = self.0.lock();
        let mut nodes = state.nodes.clone();
        for node in nodes.values_mut() {
            if let Node::File { handles, .. } = node {
                *handles = 0;
            }
        }
        Self(Arc::new(Mutex::new(State {
            dice: Dice::new(seed),
            nodes,
            next_inode: state.next_inode,
            boot: state.boot,
            faults: state.faults.clone(),
            turned_off: state.turned_off.clone(),
            syncs: state.syncs.clone(),
            capacity_bytes: state.capacity_bytes,
            trace: state.trace,
            recent: state.recent.clone(),
        })))
    }

    /// Lets `calls` more changing calls (all but reads) pass; in the middle of the next one
    /// everything stops: it and all later calls answer an error until [`SimDisk::restart`].
    pub fn crash_after(&self, calls: u64) {
        let mut state = self.0.lock();
        state.faults.crash_at = Some(state.faults.calls + calls);
    }

    /// Stops now.
    pub fn crash_now(&self) {
        self.0.lock().faults.crashed = true;
    }

    /// Whether it has stopped and waits for a restart.
    #[must_use]
    pub fn is_crashed(&self) -> bool {
        self.0.lock().faults.crashed
    }

    /// Ends the crash (or makes one now). Open files are dead; ordered faults are forgotten; sync
    /// points that are turned off and the capacity stay.
    pub fn restart(&self, crash: Crash) {
        self.0.lock().restart(crash);
    }

    /// Orders an error: of the calls of kind `op` from now on, number `nth` (from 1) and the
    /// `times - 1` after it fail.
    pub fn fail(&self, op: Op, nth: u64, times: u64, fault: Fault) {
        self.0.lock().faults.order(op, nth, times, fault);
    }

    /// Limits (or no longer limits) what files may allocate, counted in 4 KiB pages; every file
    /// and directory takes one page more.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity_bytes = bytes;
    }

    /// Bytes that are allocated now.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.0.lock().allocated()
    }

    /// From now on this sync is reported done and makes nothing durable.
    pub fn turn_off(&self, point: SyncPoint) {
        self.0.lock().turned_off.insert(point);
    }

    /// Turns one bit of a file over, in the page cache and on the disk.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> io::Result<()> {
        let mut state = self.0.lock();
        let inode = state.find(path)?;
        state.content(inode)?.flip(offset, bit);
        Ok(())
    }

    /// Changing calls that were made since the disk was made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.lock().faults.calls
    }

    /// How often each sync point was reached.
    #[must_use]
    pub fn syncs(&self) -> BTreeMap<SyncPoint, u64> {
        self.0.lock().syncs.clone()
    }

    /// A hash over all changing calls and their answers: equal traces, equal runs.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.0.lock().trace
    }

    /// The latest calls as text, for the report of a failure.
    #[must_use]
    pub fn recent_calls(&self) -> Vec<String> {
        self.0.lock().recent.iter().cloned().collect()
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.look()?;
        match state.find(dir) {
            Ok(inode) => return state.directory(inode).map(|_| ()),
            Err(error) if error.kind() == ErrorKind::NotFound => {},
            Err(error) => return Err(error),
        }
        state.parent(dir)?;
        let (done, answer) =
            state.begin_whole(Op::Name, format!("create_dir {}", dir.display()))?;
        if !state.has_space_for(PAGE_BYTES as u64) {
            return Err(Fault::NoSpace.error());
        }
        if done {
            state.make(dir, Node::Directory(Directory::default()))?;
        }
        answer
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.0.lock();
        state.look()?;
        let inode = state.find(dir)?;
        let names: Vec<(String, Inode)> = state
            .directory(inode)?
            .names()
            .map(|(name, inode)| (name.clone(), inode))
            .collect();
        let entry = |(name, inode): (String, Inode)| match state.nodes.get(&inode) {
            Some(Node::File { content, .. }) => Entry {
                name,
                len: content.len(),
                is_dir: false,
            },
            _ => Entry {
                name,
                len: 0,
                is_dir: true,
            },
        };
        Ok(names.into_iter().map(entry).collect())
    }

    fn create(&self, path: &Path) -> io::Result<SimFile> {
        let mut state = self.0.lock();
        state.look()?;
        let (directory, name) = state.parent(path)?;
        if state.directory(directory)?.get(&name).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let (done, answer) = state.begin_whole(Op::Name, format!("create {}", path.display()))?;
        if !state.has_space_for(PAGE_BYTES as u64) {
            return Err(Fault::NoSpace.error());
        }
        if done {
            let content = Content::default();
            state.make(
                path,
                Node::File {
                    content,
                    handles: 0,
                },
            )?;
        }
        answer?;
        let inode = state.find(path)?;
        drop(state);
        Ok(self.handle(inode))
    }

    fn open(&self, path: &Path) -> io::Result<SimFile> {
        let mut state = self.0.lock();
        state.look()?;
        let inode = state.find(path)?;
        state.content(inode)?;
        drop(state);
        Ok(self.handle(inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.look()?;
        let inode = state.find(from)?;
        state.content(inode)?;
        let (old_directory, old_name) = state.parent(from)?;
        let (new_directory, new_name) = state.parent(to)?;
        let call = format!("rename {} {}", from.display(), to.display());
        let (done, answer) = state.begin_whole(Op::Name, call)?;
        if done && old_directory == new_directory {
            let edit = vec![(old_name, None), (new_name, Some(inode))];
            state.directory(old_directory)?.edit(edit);
        } else if done {
            let (gone, come) = (vec![(old_name, None)], vec![(new_name, Some(inode))]);
            state.directory(old_directory)?.edit(gone);
            state.directory(new_directory)?.edit(come);
        }
        answer
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.look()?;
        let inode = state.find(path)?;
        state.content(inode)?;
        let (directory, name) = state.parent(path)?;
        let (done, answer) = state.begin_whole(Op::Name, format!("remove {}", path.display()))?;
        if done {
            state.directory(directory)?.edit(vec![(name, None)]);
        }
        answer
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.look()?;
        let inode = state.find(dir)?;
        if !state.directory(inode)?.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let (directory, name) = state.parent(dir)?;
        let (done, answer) =
            state.begin_whole(Op::Name, format!("remove_dir {}", dir.display()))?;
        if done {
            state.directory(directory)?.edit(vec![(name, None)]);
        }
        answer
    }

    fn sync_dir(&self, dir: &Path, point: SyncPoint) -> io::Result<()> {
        let mut state = self.0.lock();
        state.look()?;
        let inode = state.find(dir)?;
        state.directory(inode)?;
        let call = format!("sync_dir {} {point:?}", dir.display());
        state.sync(call, point, &[inode], false)
    }

    fn sync_everything(&self, point: SyncPoint) -> io::Result<()> {
        let mut state = self.0.lock();
        let all: Vec<Inode> = state.nodes.keys().copied().collect();
        state.sync(format!("sync_everything {point:?}"), point, &all, true)
    }
}

impl SimDisk {
    fn handle(&self, inode: Inode) -> SimFile {
        let mut state = self.0.lock();
        if let Some(Node::File { handles, .. }) = state.nodes.get_mut(&inode) {
            *handles += 1;
        }
        SimFile {
            disk: self.clone(),
            inode,
            boot: state.boot,
        }
    }
}

impl SimFile {
    /// The state, if neither a crash nor a restart has ended this handle.
    fn alive(&self) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let state = self.disk.0.lock();
        if state.faults.crashed || state.boot != self.boot {
            return Err(crashed());
        }
        Ok(state)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.0.lock();
        let same_boot = state.boot == self.boot;
        if let Some(Node::File { handles, .. }) = state.nodes.get_mut(&self.inode)
            && same_boot
        {
            *handles -= 1;
        }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.alive()?;
        if let Some(fault) = state.faults.take(Op::Read) {
            return Err(fault.error());
        }
        Ok(state.content(self.inode)?.read(buffer, offset))
    }

    fn write_at(&self, buffers: &[io::IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut state = self.alive()?;
        let mut bytes = Vec::new();
        buffers
            .iter()
            .for_each(|part| bytes.extend_from_slice(part));
        let (inode, len) = (self.inode, bytes.len());
        let call = format!(
            "write {inode} {offset}+{len} {:08x}",
            crc32c::crc32c(&bytes)
        );
        if let Way::Fails(error, _) = state.begin(Op::Write, call)? {
            state.write_part(inode, &bytes, offset)?;
            return Err(error);
        }
        let new = state.content(inode)?.would_allocate(offset, len);
        if !state.has_space_for(new) {
            state.note("NoSpace".to_owned());
            state.write_part(inode, &bytes, offset)?;
            return Err(Fault::NoSpace.error());
        }
        state.content(inode)?.write(&bytes, offset);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.alive()?;
        let call = format!("set_len {} {len}", self.inode);
        let (done, answer) = state.begin_whole(Op::Write, call)?;
        if done {
            state.content(self.inode)?.set_len(len);
        }
        answer
    }

    fn size(&self) -> io::Result<u64> {
        let mut state = self.alive()?;
        Ok(state.content(self.inode)?.len())
    }

    fn sync_data(&self, point: SyncPoint) -> io::Result<()> {
        let mut state = self.alive()?;
        let call = format!("sync_data {} {point:?}", self.inode);
        state.sync(call, point, &[self.inode], false)
    }

    fn sync_all(&self, point: SyncPoint) -> io::Result<()> {
        let mut state = self.alive()?;
        let call = format!("sync_all {} {point:?}", self.inode);
        state.sync(call, point, &[self.inode], true)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        let Ok(mut state) = self.alive() else {
            return;
        };
        let State { dice, nodes, .. } = &mut *state;
        if let Some(Node::File { content, .. }) = nodes.get_mut(&self.inode) {
            content.write_back(offset, len, dice);
        }
    }
}

#[cfg(test)]
mod tests;
