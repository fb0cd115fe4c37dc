//! Errors and crashes that a test orders from the simulated disk, and the count of calls that
//! they are placed by.

use std::io;

/// `EIO`.
const EIO: i32 = 5;
/// `ENOSPC`.
const ENOSPC: i32 = 28;

/// Kinds of calls that errors are placed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `read_at`.
    Read,
    /// `write_at` and `set_len`.
    Write,
    /// Any sync, of a file, a directory or everything.
    Sync,
    /// Creations, renames and removals.
    Name,
}

/// The error of a call that was ordered to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `EIO`.
    Io,
    /// `ENOSPC`.
    NoSpace,
}

impl Fault {
    pub(super) fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Io => EIO,
            Self::NoSpace => ENOSPC,
        })
    }
}

/// `times` calls of one kind that will fail, after `skip` that will not.
#[derive(Clone, Debug)]
struct Order {
    op: Op,
    skip: u64,
    times: u64,
    fault: Fault,
}

/// Orders that are still open, and calls that were counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    orders: Vec<Order>,
    /// Changing calls (all but reads) since the disk was made.
    pub(super) calls: u64,
    /// Count of changing calls at which the machine or process stops.
    pub(super) crash_at: Option<u64>,
    pub(super) crashed: bool,
}

impl Faults {
    /// Orders calls `nth..nth + times` of a kind to fail; `nth` counts from 1, from now on.
    pub(super) fn order(&mut self, op: Op, nth: u64, times: u64, fault: Fault) {
        let skip = nth.saturating_sub(1);
        self.orders.push(Order {
            op,
            skip,
            times,
            fault,
        });
    }

    pub(super) fn clear(&mut self) {
        self.orders.clear();
        self.crash_at = None;
    }

    /// The fault of the call that is being made now, if one was ordered.
    pub(super) fn take(&mut self, op: Op) -> Option<Fault> {
        let mut found = None;
        for order in self.orders.iter_mut().filter(|order| order.op == op) {
            if order.skip > 0 {
                order.skip -= 1;
            } else if found.is_none() && order.times > 0 {
                order.times -= 1;
                found = Some(order.fault);
            }
        }
        self.orders.retain(|order| order.times > 0);
        found
    }

    /// Counts a changing call. True when it is the one that the crash was ordered for.
    pub(super) fn count(&mut self) -> bool {
        self.calls += 1;
        let crash = self.crash_at.is_some_and(|at| self.calls > at);
        self.crashed |= crash;
        crash
    }
}

/// What every call answers between a crash and the restart.
pub(super) fn crashed() -> io::Error {
    io::Error::other("the simulated machine has crashed")
}
