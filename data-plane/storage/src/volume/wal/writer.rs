//! Writing frames: where the next one goes, when a file is full, and what is durable.

use std::io::IoSlice;
use std::sync::Arc;

use millstream_clock::Entropy;

use super::super::counters::add;
use super::super::error::{Fatal, StepError};
use super::super::format::checkpoint::LogPosition;
use super::super::format::frame::{self, ALIGNMENT, FrameHeader, FrameKind, Roll};
use super::super::layout;
use super::super::shared::Shared;
use super::stock::{Linked, WalFile, WalStock};
use crate::disk::{Disk, DiskFile, SyncPoint};

/// The one writer of a log. Exactly one frame is ever unsynced: each is written and synced before
/// the next is begun.
pub(crate) struct WalWriter<D: Disk> {
    pub(crate) shared: Arc<Shared<D>>,
    pub(crate) stock: Arc<WalStock<D>>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) log_id: u64,
    pub(crate) epoch: u64,
    pub(crate) active: WalFile<D>,
    pub(crate) generation: u64,
    /// LSN of the next frame; everything below is durable.
    pub(crate) next_lsn: u64,
    /// Whether the newest frame is a window: its end is not yet durable knowledge.
    pub(crate) unsealed: bool,
}

impl<D: Disk> WalWriter<D> {
    /// Rolls to the next file unless a frame of `frame_len` bytes fits into this one, with a roll
    /// frame behind it. Nothing is lost on [`StepError::NoSpace`].
    pub(crate) fn ensure_room(&mut self, frame_len: u64) -> Result<(), StepError> {
        let end = self.active.first + self.active.capacity;
        if self.next_lsn + frame_len + ALIGNMENT <= end {
            return Ok(());
        }
        let next = self.stock.take(end, frame_len + ALIGNMENT)?;
        let roll = Roll {
            next_first: next.first,
            next_generation: self.entropy.u64(),
        };
        let mut buffer = Vec::with_capacity(4096);
        frame::begin(&mut buffer);
        buffer.extend_from_slice(&roll.encode());
        self.write(FrameKind::Roll, &mut buffer)?;
        self.stock.link(Linked {
            first: next.first,
            capacity: next.capacity,
        });
        self.next_lsn = next.first;
        self.generation = roll.next_generation;
        self.active = next;
        add(&self.shared.counters.wal_rolls, 1);
        Ok(())
    }

    /// Writes and syncs the frame whose body stands in `buffer` (see [`frame::begin`]). Room must
    /// have been made for it.
    pub(crate) fn write(
        &mut self,
        kind: FrameKind,
        buffer: &mut Vec<u8>,
    ) -> Result<FrameHeader, Fatal> {
        let header = FrameHeader {
            kind,
            log_id: self.log_id,
            generation: self.generation,
            epoch: self.epoch,
            lsn: self.next_lsn,
            synced_lsn: self.next_lsn,
            body_len: 0,
        };
        let header = frame::finish(buffer, header);
        let file_end = self.active.first + self.active.capacity;
        assert!(
            header.end_lsn() <= file_end,
            "a frame never crosses the end of its file"
        );
        let path = layout::wal_file(self.active.first);
        self.active
            .file
            .write_at(&[IoSlice::new(buffer)], header.lsn - self.active.first)
            .map_err(|error| Fatal::new("writing", &path, error))?;
        self.active
            .file
            .sync_data(SyncPoint::WalFrame)
            .map_err(|error| Fatal::new("syncing", &path, error))?;
        self.next_lsn = header.end_lsn();
        self.unsealed = kind == FrameKind::Window;
        add(&self.shared.counters.wal_syncs, 1);
        add(&self.shared.counters.wal_bytes, header.total_len());
        Ok(header)
    }

    /// Writes a seal, which makes the end of the last window durable knowledge. A plain one is left
    /// out where only the roll frame still fits; a clean one ends the epoch, so it takes that room.
    pub(crate) fn seal(&mut self, kind: FrameKind) -> Result<(), Fatal> {
        let behind = if kind == FrameKind::CleanSeal {
            0
        } else {
            ALIGNMENT
        };
        if self.next_lsn + ALIGNMENT + behind > self.active.first + self.active.capacity {
            return Ok(());
        }
        let mut buffer = Vec::with_capacity(4096);
        frame::begin(&mut buffer);
        self.write(kind, &mut buffer)?;
        Ok(())
    }

    /// The place behind the newest frame.
    pub(crate) fn position(&self) -> LogPosition {
        LogPosition {
            epoch: self.epoch,
            lsn: self.next_lsn,
            file_first: self.active.first,
            generation: self.generation,
        }
    }
}
