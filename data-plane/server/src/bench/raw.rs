//! The disk alone: what a write and its `fdatasync` cost without any engine. The file was zeroed
//! before, as the log's files are, so that a sync needs no journal commit.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millstream_clock::Clock;

use super::sample::Percentiles;
use super::usage::as_f64;

const FILE_BYTES: u64 = 256 * 1024 * 1024;
const SMALL: usize = 4 * 1024;
const LARGE: usize = 512 * 1024;

/// What one round found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawSample {
    /// Median of a 4 KiB write with its sync.
    pub(crate) w4k_sync_p50_us: f64,
    /// 512 KiB writes, each with its sync.
    pub(crate) w512k_mb_s: f64,
}

/// A zeroed file to overwrite.
pub(crate) struct RawFile {
    file: File,
    path: PathBuf,
    next: u64,
}

impl RawFile {
    /// Makes the file in `dir`.
    pub(crate) fn create(dir: &Path) -> io::Result<Self> {
        let path = dir.join("raw");
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(&path)?;
        let zeros = vec![0; LARGE];
        for offset in (0..FILE_BYTES).step_by(LARGE) {
            file.write_all_at(&zeros, offset)?;
        }
        file.sync_all()?;
        let next = 0;
        Ok(Self { file, path, next })
    }

    /// One round of both sizes, `each` long. Blocks.
    pub(crate) fn round(&mut self, clock: &dyn Clock, each: Duration) -> io::Result<RawSample> {
        let mut small = self.overwrite(clock, each, SMALL)?;
        let large = self.overwrite(clock, each, LARGE)?;
        let nanos: u64 = large.iter().sum();
        let bytes = as_f64(large.len() as u64) * as_f64(LARGE as u64);
        Ok(RawSample {
            w4k_sync_p50_us: Percentiles::of(&mut small).p50,
            w512k_mb_s: bytes / as_f64(nanos.max(1)) * 1e3,
        })
    }

    /// Nanoseconds of each write with its sync.
    fn overwrite(
        &mut self,
        clock: &dyn Clock,
        how_long: Duration,
        len: usize,
    ) -> io::Result<Vec<u64>> {
        let content: Vec<u8> = (0..=u8::MAX).cycle().take(len).collect();
        let mut nanos = Vec::new();
        self.next = self.next.next_multiple_of(len as u64) % FILE_BYTES;
        let end = clock.monotonic() + how_long;
        loop {
            let begun = clock.monotonic();
            if begun >= end {
                return Ok(nanos);
            }
            self.file.write_all_at(&content, self.next)?;
            self.file.sync_data()?;
            self.next = (self.next + len as u64) % FILE_BYTES;
            let took = clock.monotonic().saturating_sub(begun);
            nanos.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }
}

impl Drop for RawFile {
    fn drop(&mut self) {
        // the directory goes with everything in it at the end anyway
        drop(std::fs::remove_file(&self.path));
    }
}
