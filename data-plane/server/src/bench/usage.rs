//! What a process used: processor time as the kernel counts it, disk writes as the engine does.
//!
//! The kernel's own count of written bytes is no use here: it counts a whole folio of the page cache
//! (up to a mebibyte) for each few kilobytes that are overwritten in it.

use std::io;
use std::time::Duration;

use millstream_storage::volume::Counters;

/// User and system time of one process since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// In seconds.
    pub(crate) cpu_s: f64,
}

/// What an engine did to its disk since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DiskUse {
    /// Syncs of the log.
    pub(crate) syncs: u64,
    /// Bytes written to all files, zeros of new log files included.
    pub(crate) bytes: u64,
}

impl DiskUse {
    /// As an engine of this process counts.
    pub(crate) fn of(counters: &Counters) -> Self {
        let zeroed = counters.wal_files_created * WAL_FILE_BYTES;
        Self {
            syncs: counters.wal_syncs,
            bytes: counters.wal_bytes + counters.segment_bytes + counters.checkpoint_bytes + zeroed,
        }
    }

    /// What was done since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            syncs: self.syncs - earlier.syncs,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

/// Size of the log's files: the default, which is what is measured.
pub(crate) const WAL_FILE_BYTES: u64 = 64 * 1024 * 1024;

impl Usage {
    /// This process.
    pub(crate) fn own() -> Self {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let whole = u64::try_from(cpu.tv_sec).unwrap_or_default();
        let part = u32::try_from(cpu.tv_nsec).unwrap_or_default();
        Self {
            cpu_s: Duration::new(whole, part).as_secs_f64(),
        }
    }

    /// Another process of this user. Its time is counted in ticks of 10 ms.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let ticks_per_s = rustix::param::clock_ticks_per_second();
        let ticks = ticks(&stat).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self {
            cpu_s: as_f64(ticks) / as_f64(ticks_per_s),
        })
    }

    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu_s: self.cpu_s - earlier.cpu_s,
        }
    }
}

/// User and system ticks of a `/proc/PID/stat` line. The name in it may hold anything but ends with
/// the last parenthesis.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// A count as a number to calculate with: exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a measurement of minutes lie far below 2^53"
)]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_read_behind_a_name_with_blanks_and_parentheses() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 1 1";
        assert_eq!(ticks(stat), Some(300));
    }

    #[test]
    fn work_of_this_process_shows() {
        let before = Usage::own();
        let mut sum = 0u64;
        while Usage::own().since(before).cpu_s < 0.01 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(1));
        }
        let seen = Usage::of(std::process::id()).expect("the kernel tells");
        assert!(seen.cpu_s <= Usage::own().cpu_s + 0.1);
    }
}
