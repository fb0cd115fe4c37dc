//! Making a checkpoint durable, one disk call after the other: segments, their directories, the
//! checkpoint itself; only then may older checkpoints, WAL files and removed segments go.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::super::counters::add;
use super::super::error::{Fatal, StepError};
use super::super::format::checkpoint::{Checkpoint, LogPosition};
use super::super::layout;
use super::super::shared::Shared;
use super::super::wal::stock::WalStock;
use super::segments::Unsynced;
use crate::disk::{Disk, DiskFile, SyncPoint};

/// Above this many dirty segments one `syncfs` is cheaper than a sync of each.
const SEGMENT_SYNCS_MAX: usize = 64;

/// A checkpoint under way. Step it until it is done; after an error other than a full disk nothing
/// may go on.
pub(crate) struct CheckpointJob<D: Disk> {
    shared: Arc<Shared<D>>,
    stock: Arc<WalStock<D>>,
    number: u64,
    position: LogPosition,
    bytes: Vec<u8>,
    unsynced: Unsynced,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Segments,
    Directories,
    Write,
    Publish,
    ReleaseWal,
    RemoveOld,
    Done,
}

impl<D: Disk> CheckpointJob<D> {
    pub(crate) fn new(
        shared: Arc<Shared<D>>,
        stock: Arc<WalStock<D>>,
        number: u64,
        checkpoint: &Checkpoint,
        unsynced: Unsynced,
    ) -> Self {
        let (position, bytes) = (checkpoint.position, checkpoint.encode());
        Self {
            shared,
            stock,
            number,
            position,
            bytes,
            unsynced,
            phase: Phase::Segments,
        }
    }

    /// All steps.
    pub(crate) fn run(&mut self) -> Result<(), StepError> {
        while !self.step()? {}
        Ok(())
    }

    /// Does the next step; true once there is none.
    pub(crate) fn step(&mut self) -> Result<bool, StepError> {
        self.phase = match self.phase {
            Phase::Segments => {
                self.sync_segments()?;
                Phase::Directories
            },
            Phase::Directories => {
                self.sync_directories()?;
                Phase::Write
            },
            Phase::Write => {
                self.write()?;
                Phase::Publish
            },
            Phase::Publish => {
                self.publish()?;
                Phase::ReleaseWal
            },
            Phase::ReleaseWal => {
                self.stock.release_before(self.position.file_first)?;
                Phase::RemoveOld
            },
            Phase::RemoveOld => {
                self.remove_old()?;
                add(&self.shared.counters.checkpoints, 1);
                Phase::Done
            },
            Phase::Done => Phase::Done,
        };
        Ok(self.phase == Phase::Done)
    }

    /// What is left to be done by another checkpoint.
    pub(crate) fn into_unsynced(self) -> Unsynced {
        self.unsynced
    }

    fn sync_segments(&mut self) -> Result<(), Fatal> {
        let disk = &self.shared.disk;
        if self.unsynced.segments.len() > SEGMENT_SYNCS_MAX {
            add(&self.shared.counters.checkpoint_syncs, 1);
            return disk
                .sync_everything(SyncPoint::SegmentData)
                .map_err(|error| Fatal::new("syncing", Path::new(layout::SEGMENTS), error));
        }
        for (uid, first) in &self.unsynced.segments {
            let path = layout::segment_file(*uid, *first);
            // it is there even if it was trimmed since: only the next checkpoint removes it
            let segment = self.shared.files.open(*uid, *first);
            let synced = segment.and_then(|s| s.file.sync_all(SyncPoint::SegmentData));
            synced.map_err(|error| Fatal::new("syncing", &path, error))?;
            add(&self.shared.counters.checkpoint_syncs, 1);
        }
        Ok(())
    }

    fn sync_directories(&mut self) -> Result<(), Fatal> {
        let sync = |dir: &Path| {
            add(&self.shared.counters.checkpoint_syncs, 1);
            self.shared
                .disk
                .sync_dir(dir, SyncPoint::SegmentDir)
                .map_err(|error| Fatal::new("syncing", dir, error))
        };
        if self.unsynced.dirs.len() <= SEGMENT_SYNCS_MAX {
            for uid in &self.unsynced.dirs {
                sync(&layout::shard_dir(*uid))?;
            }
        } else {
            self.shared
                .disk
                .sync_everything(SyncPoint::SegmentDir)
                .map_err(|error| Fatal::new("syncing", Path::new(layout::SEGMENTS), error))?;
        }
        if self.unsynced.root {
            sync(Path::new(layout::SEGMENTS))
        } else {
            Ok(())
        }
    }

    fn write(&mut self) -> Result<(), StepError> {
        let path = layout::checkpoint_new(self.number);
        let disk = &self.shared.disk;
        let written = disk.create(&path).and_then(|file| {
            file.write_at(&[IoSlice::new(&self.bytes)], 0)?;
            Ok(file)
        });
        let file = written.map_err(|error| {
            // a later checkpoint has another name; if this cannot go, open deletes it
            drop(disk.remove(&path));
            StepError::new("writing", &path, error)
        })?;
        file.sync_all(SyncPoint::CheckpointFile)
            .map_err(|error| Fatal::new("syncing", &path, error))?;
        add(
            &self.shared.counters.checkpoint_bytes,
            self.bytes.len() as u64,
        );
        Ok(())
    }

    fn publish(&mut self) -> Result<(), Fatal> {
        let (from, to) = (
            layout::checkpoint_new(self.number),
            layout::checkpoint_file(self.number),
        );
        let disk = &self.shared.disk;
        disk.rename(&from, &to)
            .map_err(|error| Fatal::new("renaming", &from, error))?;
        let dir = Path::new(layout::CHECKPOINTS);
        disk.sync_dir(dir, SyncPoint::CheckpointDir)
            .map_err(|error| Fatal::new("syncing", dir, error))
    }

    fn remove_old(&mut self) -> Result<(), Fatal> {
        let disk = &self.shared.disk;
        let dir = Path::new(layout::CHECKPOINTS);
        let entries = disk
            .list(dir)
            .map_err(|error| Fatal::new("listing", dir, error))?;
        for entry in entries {
            if layout::checkpoint_number(&entry.name).is_some_and(|n| n < self.number) {
                self.remove(&dir.join(entry.name))?;
            }
        }
        for (uid, first) in &self.unsynced.removed {
            self.shared.files.forget(*uid, *first);
            self.remove(&layout::segment_file(*uid, *first))?;
        }
        for uid in &self.unsynced.dropped {
            let dir = layout::shard_dir(*uid);
            match disk.remove_dir(&dir) {
                // what a full disk left half-made in it goes at the next open
                Err(error)
                    if !matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                    ) =>
                {
                    return Err(Fatal::new("removing", &dir, error));
                },
                _ => {},
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), Fatal> {
        match self.shared.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Fatal::new("removing", path, error))
            },
            _ => Ok(()),
        }
    }
}
