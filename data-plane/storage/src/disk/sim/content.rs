//! The bytes of one simulated file: what readers see (page cache) and what a power loss leaves.
//!
//! Both are sparse maps of 4 KiB pages; a set of dirty 512-byte sectors says where they may
//! differ with a sync still able to carry the bytes over. It must not know names or errors.

#![expect(
    clippy::cast_possible_truncation,
    reason = "offsets inside a page, and files that fit the memory of a test"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::testkit::Dice;

/// Unit of tearing: a sector is written whole or not at all.
const SECTOR_BYTES: usize = 512;
/// Unit of allocation.
pub(super) const PAGE_BYTES: usize = 4_096;
/// Lengths that a file remembers between two full syncs.
const LENGTHS_MAX: usize = 256;

type Page = Arc<[u8; PAGE_BYTES]>;

/// All zeroed pages of all files are this one.
static ZEROS: LazyLock<Page> = LazyLock::new(|| Arc::new([0; PAGE_BYTES]));

/// How a power loss treats what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Nothing of it arrived.
    All,
    /// All or nothing of each file and directory.
    WholeFiles,
    /// Each sector arrived or not.
    Sectors,
}

impl Loss {
    pub(super) fn roll(dice: &Dice) -> Self {
        match dice.below(3) {
            0 => Self::All,
            1 => Self::WholeFiles,
            _ => Self::Sectors,
        }
    }
}

/// Sparse bytes; a page that is absent is a hole and reads as zeros.
#[derive(Clone, Debug, Default)]
struct Pages(BTreeMap<u64, Page>);

impl Pages {
    fn read(&self, buffer: &mut [u8], offset: u64) {
        for_pages(offset, buffer.len(), |page, inside, part| {
            match self.0.get(&page) {
                Some(bytes) => {
                    buffer[part.clone()].copy_from_slice(&bytes[inside..inside + part.len()]);
                },
                None => buffer[part].fill(0),
            }
        });
    }

    fn write(&mut self, bytes: &[u8], offset: u64) {
        for_pages(offset, bytes.len(), |page, inside, part| {
            let bytes = &bytes[part];
            if bytes.len() == PAGE_BYTES && bytes.iter().all(|b| *b == 0) {
                self.0.insert(page, ZEROS.clone());
                return;
            }
            let held = self.0.entry(page).or_insert_with(|| ZEROS.clone());
            Arc::make_mut(held)[inside..inside + bytes.len()].copy_from_slice(bytes);
        });
    }

    /// Takes over the sectors of `mask` of one page.
    fn copy_sectors(&mut self, from: &Self, page: u64, mask: u8) {
        match from.0.get(&page) {
            Some(bytes) if mask == u8::MAX => {
                self.0.insert(page, bytes.clone());
            },
            None if mask == u8::MAX => {
                self.0.remove(&page);
            },
            source => {
                let source: &Page = source.unwrap_or(&ZEROS);
                let held = self.0.entry(page).or_insert_with(|| ZEROS.clone());
                let held = Arc::make_mut(held);
                for sector in (0..8).filter(|sector| mask & (1 << sector) != 0) {
                    let range = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
                    held[range.clone()].copy_from_slice(&source[range]);
                }
            },
        }
    }

    /// Frees everything behind `len`.
    fn cut(&mut self, len: u64) {
        let (page, inside) = (len / PAGE_BYTES as u64, len as usize % PAGE_BYTES);
        self.0
            .retain(|at, _| *at < page || (*at == page && inside > 0));
        if let Some(last) = self.0.get_mut(&page) {
            Arc::make_mut(last)[inside..].fill(0);
        }
    }
}

/// Calls `visit` with (page, offset inside it, range of the buffer) for a run of bytes.
fn for_pages(offset: u64, len: usize, mut visit: impl FnMut(u64, usize, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < len {
        let at = offset + done as u64;
        let inside = (at % PAGE_BYTES as u64) as usize;
        let part = (PAGE_BYTES - inside).min(len - done);
        visit(at / PAGE_BYTES as u64, inside, done..done + part);
        done += part;
    }
}

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    cached: Pages,
    len: u64,
    durable: Pages,
    durable_len: u64,
    /// Sectors of each page that were written and not yet synced. A failed sync takes sectors out
    /// of here without making them durable.
    dirty: BTreeMap<u64, u8>,
    /// Lengths that the file had since its length was last made durable.
    lengths: Vec<u64>,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that the file takes on the disk.
    pub(super) fn allocated(&self) -> u64 {
        (self.cached.0.len() * PAGE_BYTES) as u64
    }

    /// Bytes that a write would allocate anew.
    pub(super) fn would_allocate(&self, offset: u64, len: usize) -> u64 {
        let mut new = 0;
        for_pages(offset, len, |page, _, _| {
            new += u64::from(!self.cached.0.contains_key(&page)) * PAGE_BYTES as u64;
        });
        new
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let there = self.len.saturating_sub(offset).min(buffer.len() as u64) as usize;
        self.cached.read(&mut buffer[..there], offset);
        there
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        if bytes.is_empty() {
            return;
        }
        self.cached.write(bytes, offset);
        self.mark_dirty(offset, bytes.len() as u64);
        let end = offset + bytes.len() as u64;
        if end > self.len {
            self.note_len(end);
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.mark_dirty(len, self.len - len);
            self.cached.cut(len);
        }
        if len != self.len {
            self.note_len(len);
        }
    }

    fn note_len(&mut self, len: u64) {
        self.len = len;
        if self.lengths.len() == LENGTHS_MAX {
            self.lengths.remove(LENGTHS_MAX / 2);
        }
        self.lengths.push(len);
    }

    fn mark_dirty(&mut self, offset: u64, len: u64) {
        for_pages(offset, len as usize, |page, inside, part| {
            let (first, last) = (
                inside / SECTOR_BYTES,
                (inside + part.len() - 1) / SECTOR_BYTES,
            );
            let mask = (first..=last).fold(0u8, |mask, sector| mask | (1 << sector));
            *self.dirty.entry(page).or_default() |= mask;
        });
    }

    /// A sync that works.
    pub(super) fn sync(&mut self, with_len: bool) {
        for (page, mask) in std::mem::take(&mut self.dirty) {
            self.durable.copy_sectors(&self.cached, page, mask);
        }
        if with_len {
            self.durable_len = self.len;
            self.lengths.clear();
        }
    }

    /// A sync that fails: each sector arrives or not, and all are clean afterwards.
    pub(super) fn fail_sync(&mut self, with_len: bool, dice: &Dice) {
        for (page, mask) in std::mem::take(&mut self.dirty) {
            let arrived = mask & random_mask(dice);
            self.durable.copy_sectors(&self.cached, page, arrived);
        }
        if with_len && dice.chance(1, 2) {
            self.durable_len = self.len;
            self.lengths.clear();
        }
    }

    /// Write-back that was only asked for: each sector of the range arrives or stays dirty.
    pub(super) fn write_back(&mut self, offset: u64, len: u64, dice: &Dice) {
        let page_bytes = PAGE_BYTES as u64;
        let last = offset.saturating_add(len).div_ceil(page_bytes);
        let touched: Vec<(u64, u8)> = self
            .dirty
            .range(offset / page_bytes..last)
            .map(|(page, mask)| (*page, *mask))
            .collect();
        for (page, mask) in touched {
            let arrived = mask & random_mask(dice);
            self.durable.copy_sectors(&self.cached, page, arrived);
            self.dirty.insert(page, mask & !arrived);
        }
    }

    /// What is left after the power was gone.
    pub(super) fn lose_power(&mut self, loss: Loss, dice: &Dice) {
        let whole = dice.chance(1, 2);
        for (page, mask) in std::mem::take(&mut self.dirty) {
            let arrived = match loss {
                Loss::All => 0,
                Loss::WholeFiles if whole => mask,
                Loss::WholeFiles => 0,
                Loss::Sectors => mask & random_mask(dice),
            };
            self.durable.copy_sectors(&self.cached, page, arrived);
        }
        let lengths = std::mem::take(&mut self.lengths);
        self.durable_len = match loss {
            Loss::WholeFiles if whole => self.len,
            Loss::All | Loss::WholeFiles => self.durable_len,
            Loss::Sectors => match dice.index(lengths.len() + 1) {
                0 => self.durable_len,
                nth => lengths[nth - 1],
            },
        };
        self.durable.cut(self.durable_len);
        self.cached = self.durable.clone();
        self.len = self.durable_len;
    }

    /// Turns one bit over, in the cache and on the disk.
    pub(super) fn flip(&mut self, offset: u64, bit: u8) {
        let mask = 1u8 << (bit % 8);
        for pages in [&mut self.cached, &mut self.durable] {
            let mut byte = [0];
            pages.read(&mut byte, offset);
            pages.write(&[byte[0] ^ mask], offset);
        }
    }
}

fn random_mask(dice: &Dice) -> u8 {
    dice.bits().to_le_bytes()[0]
}
