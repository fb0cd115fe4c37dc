//! The files of the WAL: the chain in use, the next one made ready ahead of need, and those that a
//! checkpoint freed, to be used again. Overwriting a file whose blocks exist needs no journal
//! commit at each sync, which is why files are zeroed once and then recycled.

#[cfg(all(test, feature = "shuttle"))]
mod threads;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::counters::add;
use super::super::error::{Fatal, StepError, is_no_space};
use super::super::format::frame::ALIGNMENT;
use super::super::layout;
use super::super::shared::Shared;
use super::super::sync::{Condvar, Mutex};
use crate::disk::{Disk, DiskFile, SyncPoint};

/// Most freed files that are kept for use again.
const FREE_MAX: usize = 8;
/// Room of a file made on a full disk, beyond the frame that needs it: for some changes that free
/// space.
const SMALL_BYTES: u64 = 16 * ALIGNMENT;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A WAL file, ready to be written.
pub(crate) struct WalFile<D: Disk> {
    pub(crate) file: D::File,
    pub(crate) first: u64,
    pub(crate) capacity: u64,
}

/// A file of the chain in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linked {
    pub(crate) first: u64,
    pub(crate) capacity: u64,
}

/// Where the writer gets its files, and where the checkpoint gives them back.
pub(crate) struct WalStock<D: Disk> {
    shared: Arc<Shared<D>>,
    state: Mutex<StockState<D>>,
    wanted: Condvar,
    prepared: Condvar,
}

struct StockState<D: Disk> {
    chain: VecDeque<Linked>,
    spare: Option<WalFile<D>>,
    /// First LSN of the file that the writer will want next.
    wanted: Option<u64>,
    /// As `wanted`, where a full disk kept it from being made.
    starved: Option<u64>,
    /// Whether a file is being made.
    preparing: bool,
    /// Whether nobody will want a file any more.
    ended: bool,
    free: Vec<u64>,
}

impl<D: Disk> WalStock<D> {
    pub(crate) fn new(shared: Arc<Shared<D>>, chain: VecDeque<Linked>) -> Self {
        let state = StockState {
            chain,
            spare: None,
            wanted: None,
            starved: None,
            preparing: false,
            ended: false,
            free: Vec::new(),
        };
        Self {
            shared,
            state: Mutex::new(state),
            wanted: Condvar::new(),
            prepared: Condvar::new(),
        }
    }

    /// The file that begins at `first`, at least `capacity_min` long: the one made ready, or one
    /// made now.
    pub(crate) fn take(&self, first: u64, capacity_min: u64) -> Result<WalFile<D>, StepError> {
        let ready = {
            let mut state = self.state.lock();
            // what is being made ready right now is waited for: two makers of one name would clash
            while state.preparing {
                self.prepared.wait(&mut state);
            }
            state.wanted = None;
            state.starved = None;
            state.preparing = true;
            state.spare.take()
        };
        let taken = self.take_or_make(ready, first, capacity_min);
        let mut state = self.state.lock();
        state.preparing = false;
        self.prepared.notify_all();
        if matches!(taken, Err(StepError::NoSpace)) {
            state.starved = Some(first);
        }
        taken
    }

    fn take_or_make(
        &self,
        ready: Option<WalFile<D>>,
        first: u64,
        capacity_min: u64,
    ) -> Result<WalFile<D>, StepError> {
        match ready {
            Some(spare) if spare.first == first && spare.capacity >= capacity_min => Ok(spare),
            Some(unfit) => {
                self.remove_unused(unfit)?;
                self.make(first, capacity_min)
            },
            None => self.make(first, capacity_min),
        }
    }

    fn remove_unused(&self, unfit: WalFile<D>) -> Result<(), Fatal> {
        let path = layout::wal_file(unfit.first);
        drop(unfit);
        self.shared
            .disk
            .remove(&path)
            .map_err(|error| Fatal::new("removing", &path, error))
    }

    /// The writer went on to `link`; its next file will begin at `next_first`.
    pub(crate) fn link(&self, link: Linked) {
        let mut state = self.state.lock();
        state.chain.push_back(link);
        state.wanted = Some(link.first + link.capacity);
        self.wanted.notify_one();
    }

    /// The writer's next file will begin at `first`.
    pub(crate) fn want_after(&self, first: u64) {
        self.state.lock().wanted = Some(first);
    }

    /// Makes the next file ready, if one is wanted. A full disk is left for the writer to meet.
    pub(crate) fn prepare(&self) -> Result<bool, Fatal> {
        let first = {
            let mut state = self.state.lock();
            let Some(first) = state.wanted.take() else {
                return Ok(false);
            };
            state.preparing = true;
            first
        };
        let made = self.make(first, 0);
        Ok(self.prepared(first, made)?.is_some())
    }

    /// Keeps what was made as the spare, and gives its capacity; none where the disk is full.
    fn prepared(
        &self,
        first: u64,
        made: Result<WalFile<D>, StepError>,
    ) -> Result<Option<u64>, Fatal> {
        let mut state = self.state.lock();
        state.preparing = false;
        self.prepared.notify_all();
        match made {
            Ok(file) => {
                let capacity = file.capacity;
                state.spare = Some(file);
                Ok(Some(capacity))
            },
            Err(StepError::NoSpace) => {
                state.starved = Some(first);
                Ok(None)
            },
            Err(StepError::Fatal(fatal)) => Err(fatal),
        }
    }

    /// Waits for a file that is being made: it must not be made of space that is about to be given
    /// up for something else.
    pub(crate) fn wait_prepared(&self) {
        let mut state = self.state.lock();
        while state.preparing {
            self.prepared.wait(&mut state);
        }
    }

    /// Once the disk is known to be full: makes a small file ready, in place of the whole one that
    /// there was no space for.
    pub(crate) fn prepare_small(&self) -> Result<(), Fatal> {
        {
            let mut state = self.state.lock();
            state.wanted = state.wanted.or(state.starved);
            state.starved = None;
        }
        self.prepare().map(drop)
    }

    /// Whether a whole file is ready for the writer; makes it if there is space again.
    pub(crate) fn prepare_whole(&self) -> Result<bool, Fatal> {
        let whole = self.shared.options.wal_file_bytes;
        let (first, small) = {
            let mut state = self.state.lock();
            if state.preparing {
                return Ok(false);
            }
            match &state.spare {
                Some(spare) if spare.capacity >= whole => return Ok(true),
                _ => {},
            }
            let small = state.spare.take();
            let wanted = state.wanted.take().or_else(|| state.starved.take());
            // none of them: the writer is just going on to its next file
            let Some(first) = small.as_ref().map(|spare| spare.first).or(wanted) else {
                return Ok(false);
            };
            state.preparing = true;
            (first, small)
        };
        let removed = small.map_or(Ok(()), |small| self.remove_unused(small));
        let made = match removed {
            Ok(()) => match self.make_whole(first, 0) {
                Err(StepError::NoSpace) => self.make_small(first, 0),
                other => other,
            },
            Err(fatal) => Err(fatal.into()),
        };
        let capacity = self.prepared(first, made)?;
        Ok(capacity.is_some_and(|capacity| capacity >= whole))
    }

    /// Waits until [`Self::prepare`] has something to do, or `limit` has passed.
    pub(crate) fn wait_wanted(&self, limit: Duration) {
        let mut state = self.state.lock();
        if state.wanted.is_none() && !state.ended {
            self.wanted.wait_for(&mut state, limit);
        }
    }

    /// Ends [`Self::wait_wanted`], now and from now on.
    pub(crate) fn end(&self) {
        self.state.lock().ended = true;
        self.wanted.notify_all();
    }

    /// Frees every file before the one that begins at `first`. Call it once the checkpoint that
    /// covers them is durable.
    pub(crate) fn release_before(&self, first: u64) -> Result<(), Fatal> {
        loop {
            let (link, keep) = {
                let mut state = self.state.lock();
                match state.chain.front() {
                    Some(link) if link.first < first => {},
                    _ => return Ok(()),
                }
                let Some(link) = state.chain.pop_front() else {
                    return Ok(());
                };
                let whole = link.capacity == self.shared.options.wal_file_bytes;
                let full = self.shared.is_full();
                (link, whole && !full && state.free.len() < FREE_MAX)
            };
            let path = layout::wal_file(link.first);
            if keep {
                self.shared
                    .disk
                    .rename(&path, &layout::free_wal_file(link.first))
                    .map_err(|error| Fatal::new("freeing", &path, error))?;
                self.state.lock().free.push(link.first);
            } else {
                self.shared
                    .disk
                    .remove(&path)
                    .map_err(|error| Fatal::new("removing", &path, error))?;
            }
        }
    }

    /// Removes the files that wait to be used again: their space is worth more now.
    pub(crate) fn remove_free(&self) -> Result<(), Fatal> {
        let free = std::mem::take(&mut self.state.lock().free);
        for first in free {
            let path = layout::free_wal_file(first);
            self.shared
                .disk
                .remove(&path)
                .map_err(|error| Fatal::new("removing", &path, error))?;
        }
        Ok(())
    }

    /// A whole file; a small one where the disk is known to be full, so that changes that free
    /// space can still be written.
    fn make(&self, first: u64, capacity_min: u64) -> Result<WalFile<D>, StepError> {
        if self.shared.is_full() {
            self.make_small(first, capacity_min)
        } else {
            self.make_whole(first, capacity_min)
        }
    }

    fn make_small(&self, first: u64, capacity_min: u64) -> Result<WalFile<D>, StepError> {
        let whole = self.shared.options.wal_file_bytes.max(capacity_min);
        let small = capacity_min.next_multiple_of(ALIGNMENT) + SMALL_BYTES;
        create(&self.shared, first, small.min(whole))
    }

    fn make_whole(&self, first: u64, capacity_min: u64) -> Result<WalFile<D>, StepError> {
        let capacity = self.shared.options.wal_file_bytes;
        if capacity >= capacity_min {
            let free = self.state.lock().free.pop();
            if let Some(old_first) = free {
                return Ok(self.recycle(old_first, first, capacity)?);
            }
        }
        create(&self.shared, first, capacity.max(capacity_min))
    }

    fn recycle(&self, old_first: u64, first: u64, capacity: u64) -> Result<WalFile<D>, Fatal> {
        let disk = &self.shared.disk;
        let path = layout::wal_file(first);
        let fatal = |error| Fatal::new("recycling", &path, error);
        disk.rename(&layout::free_wal_file(old_first), &path)
            .map_err(fatal)?;
        let file = disk.open(&path).map_err(fatal)?;
        disk.sync_dir(Path::new(layout::WAL), SyncPoint::WalRecycleDir)
            .map_err(fatal)?;
        add(&self.shared.counters.wal_files_recycled, 1);
        Ok(WalFile {
            file,
            first,
            capacity,
        })
    }
}

/// Makes a fresh, zeroed WAL file, durable with its name.
pub(crate) fn create<D: Disk>(
    shared: &Shared<D>,
    first: u64,
    capacity: u64,
) -> Result<WalFile<D>, StepError> {
    let path = layout::wal_file(first);
    let disk = &shared.disk;
    let file = match create_zeroed(
        disk.as_ref(),
        &path,
        capacity,
        Some(SyncPoint::WalFileCreate),
    ) {
        Ok(file) => file,
        Err(error) => {
            if is_no_space(&error) {
                // the half-made file must not keep the space; if it cannot go, open deletes it
                drop(disk.remove(&path));
            }
            return Err(StepError::new("creating", &path, error));
        },
    };
    disk.sync_dir(Path::new(layout::WAL), SyncPoint::WalDir)
        .map_err(|error| Fatal::new("syncing", Path::new(layout::WAL), error))?;
    add(&shared.counters.wal_files_created, 1);
    Ok(WalFile {
        file,
        first,
        capacity,
    })
}

/// Makes a file of `len` zeros, and syncs it if a sync point is named.
pub(crate) fn create_zeroed<D: Disk>(
    disk: &D,
    path: &Path,
    len: u64,
    point: Option<SyncPoint>,
) -> io::Result<D::File> {
    let file = disk.create(path)?;
    let mut offset = 0;
    while offset < len {
        // sixteen slices of one block of zeros: 1 MiB a call without 1 MiB of memory
        let mut slices = Vec::with_capacity(16);
        let mut end = offset;
        while slices.len() < 16 && end < len {
            let count = usize::try_from(len - end)
                .unwrap_or(usize::MAX)
                .min(ZEROS.len());
            slices.push(IoSlice::new(&ZEROS[..count]));
            end += count as u64;
        }
        file.write_at(&slices, offset)?;
        offset = end;
    }
    if let Some(point) = point {
        file.sync_all(point)?;
    }
    Ok(file)
}
