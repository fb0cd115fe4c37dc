//! The whole state of the simulated disk behind its lock: inodes, crash, faults and choices.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::path::{Component, Path};

use super::Crash;
use super::content::{Content, Loss, PAGE_BYTES};
use super::faults::{Faults, Op, crashed};
use super::tree::{Directory, Inode, ROOT};
use crate::disk::SyncPoint;
use crate::testkit::Dice;

/// Latest calls that are kept as text for a failure report.
const RECENT_CALLS_MAX: usize = 200;

#[derive(Clone, Debug)]
pub(super) enum Node {
    File { content: Content, handles: u64 },
    Directory(Directory),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) dice: Dice,
    pub(super) nodes: BTreeMap<Inode, Node>,
    pub(super) next_inode: Inode,
    /// Counts restarts: handles from before are dead.
    pub(super) boot: u64,
    pub(super) faults: Faults,
    pub(super) turned_off: BTreeSet<SyncPoint>,
    pub(super) syncs: BTreeMap<SyncPoint, u64>,
    pub(super) capacity_bytes: Option<u64>,
    /// A hash over all changing calls and their answers.
    pub(super) trace: u64,
    pub(super) recent: VecDeque<String>,
}

/// How far a changing call goes.
pub(super) enum Way {
    /// All of it.
    Through,
    /// It fails with this error; `true` says that the crash was in it.
    Fails(io::Error, bool),
}

impl State {
    pub(super) fn note(&mut self, call: String) {
        for byte in call.bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.recent.len() == RECENT_CALLS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(call);
    }

    /// Counts a changing call and says how far it goes.
    pub(super) fn begin(&mut self, op: Op, call: String) -> io::Result<Way> {
        if self.faults.crashed {
            return Err(crashed());
        }
        self.note(call);
        if self.faults.count() {
            self.note("crash".to_owned());
            return Ok(Way::Fails(crashed(), true));
        }
        Ok(match self.faults.take(op) {
            Some(fault) => {
                self.note(format!("{fault:?}"));
                Way::Fails(fault.error(), false)
            },
            None => Way::Through,
        })
    }

    /// For calls that happen whole or not at all: true when it is to be done now. A crash in the
    /// middle leaves one or the other.
    pub(super) fn begin_whole(
        &mut self,
        op: Op,
        call: String,
    ) -> io::Result<(bool, io::Result<()>)> {
        Ok(match self.begin(op, call)? {
            Way::Through => (true, Ok(())),
            Way::Fails(error, crash) => (crash && self.dice.chance(1, 2), Err(error)),
        })
    }

    pub(super) fn look(&self) -> io::Result<()> {
        if self.faults.crashed {
            return Err(crashed());
        }
        Ok(())
    }

    pub(super) fn directory(&mut self, inode: Inode) -> io::Result<&mut Directory> {
        match self.nodes.get_mut(&inode) {
            Some(Node::Directory(directory)) => Ok(directory),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn content(&mut self, inode: Inode) -> io::Result<&mut Content> {
        match self.nodes.get_mut(&inode) {
            Some(Node::File { content, .. }) => Ok(content),
            Some(Node::Directory(_)) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn find(&mut self, path: &Path) -> io::Result<Inode> {
        let mut at = ROOT;
        for component in path.components() {
            match component {
                Component::CurDir => {},
                Component::Normal(name) => {
                    let name = name.to_str().ok_or(ErrorKind::InvalidInput)?;
                    at = self.directory(at)?.get(name).ok_or(ErrorKind::NotFound)?;
                },
                _ => return Err(ErrorKind::InvalidInput.into()),
            }
        }
        Ok(at)
    }

    /// The directory that a path lies in, and the name in it.
    pub(super) fn parent(&mut self, path: &Path) -> io::Result<(Inode, String)> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or(ErrorKind::InvalidInput)?.to_owned();
        let directory = self.find(path.parent().unwrap_or_else(|| Path::new("")))?;
        self.directory(directory)?;
        Ok((directory, name))
    }

    pub(super) fn make(&mut self, path: &Path, node: Node) -> io::Result<Inode> {
        let (directory, name) = self.parent(path)?;
        let inode = self.next_inode;
        self.next_inode += 1;
        self.nodes.insert(inode, node);
        self.directory(directory)?.edit(vec![(name, Some(inode))]);
        Ok(inode)
    }

    pub(super) fn allocated(&self) -> u64 {
        let mut seen = vec![ROOT];
        let mut total = 0;
        let mut counted = BTreeSet::from([ROOT]);
        while let Some(at) = seen.pop() {
            if let Some(Node::Directory(directory)) = self.nodes.get(&at) {
                seen.extend(
                    directory
                        .names()
                        .map(|(_, inode)| inode)
                        .filter(|i| counted.insert(*i)),
                );
            }
        }
        for (inode, node) in &self.nodes {
            match node {
                Node::File { content, handles } if *handles > 0 || counted.contains(inode) => {
                    total += content.allocated() + PAGE_BYTES as u64;
                },
                Node::Directory(_) if counted.contains(inode) => total += PAGE_BYTES as u64,
                _ => {},
            }
        }
        total
    }

    pub(super) fn has_space_for(&self, bytes: u64) -> bool {
        bytes == 0
            || self
                .capacity_bytes
                .is_none_or(|capacity| self.allocated() + bytes <= capacity)
    }

    /// Writes what a failing write leaves: a part of it, cut anywhere.
    pub(super) fn write_part(&mut self, inode: Inode, bytes: &[u8], offset: u64) -> io::Result<()> {
        let part = self.dice.index(bytes.len() + 1);
        let new = self.content(inode)?.would_allocate(offset, part);
        let part = if self.has_space_for(new) { part } else { 0 };
        self.content(inode)?.write(&bytes[..part], offset);
        Ok(())
    }

    pub(super) fn restart(&mut self, crash: Crash) {
        self.note(format!("restart after {crash:?}"));
        self.boot += 1;
        self.faults.crashed = false;
        self.faults.clear();
        let loss = Loss::roll(&self.dice);
        for node in self.nodes.values_mut() {
            match node {
                Node::File { content, handles } => {
                    *handles = 0;
                    if crash == Crash::Power {
                        content.lose_power(loss, &self.dice);
                    }
                },
                Node::Directory(directory) if crash == Crash::Power => {
                    directory.lose_power(loss, &self.dice);
                },
                Node::Directory(_) => {},
            }
        }
        self.forget_unreachable();
    }

    fn forget_unreachable(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(at) = open.pop() {
            if let Some(Node::Directory(directory)) = self.nodes.get(&at) {
                open.extend(directory.refers_to().filter(|inode| reached.insert(*inode)));
            }
        }
        self.nodes.retain(|inode, _| reached.contains(inode));
    }

    fn count_sync(&mut self, point: SyncPoint) -> bool {
        *self.syncs.entry(point).or_default() += 1;
        !self.turned_off.contains(&point)
    }

    /// One sync of some nodes: works, is turned off, fails, or is cut short by the crash.
    pub(super) fn sync(
        &mut self,
        call: String,
        point: SyncPoint,
        nodes: &[Inode],
        with_len: bool,
    ) -> io::Result<()> {
        let way = self.begin(Op::Sync, call)?;
        let on = self.count_sync(point);
        for inode in nodes {
            match (&way, self.nodes.get_mut(inode)) {
                (_, None) => {},
                (Way::Through, _) if !on => {},
                (Way::Through, Some(Node::File { content, .. })) => content.sync(with_len),
                (Way::Through, Some(Node::Directory(directory))) => directory.sync(),
                // the machine decides at the restart what had arrived
                (Way::Fails(_, true), _) => {},
                (Way::Fails(_, false), Some(Node::File { content, .. })) => {
                    content.fail_sync(with_len, &self.dice);
                },
                (Way::Fails(_, false), Some(Node::Directory(directory))) => {
                    directory.fail_sync(&self.dice);
                },
            }
        }
        match way {
            Way::Through => Ok(()),
            Way::Fails(error, _) => Err(error),
        }
    }
}
