//! What is counted of calls, at both ends. Whoever runs a process shows it in its own way.

use std::time::Duration;

/// Which end of a call counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Whoever called. A call that is repeated counts each time.
    Client,
    /// Whoever was called.
    Server,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was carried out; its entries may have failed.
    Done,
    /// It was for another group or epoch, and not carried out.
    Refused,
    /// The server had no room for it, and did not carry it out.
    Overloaded,
    /// It did not leave the process.
    NotSent,
    /// It has no answer, and may have been carried out.
    Unknown,
    /// The caller may not, or the message breaks the protocol.
    Failed,
}

impl Outcome {
    /// The outcome's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Overloaded => "overloaded",
            Self::NotSent => "not_sent",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

/// A call that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    /// Who counts it.
    pub side: Side,
    /// The call, as the protocol names it.
    pub call: &'static str,
    /// What became of it.
    pub outcome: Outcome,
    /// How long it took; of a stream, until its first word.
    pub elapsed: Duration,
    /// Bytes of its request, where they are known.
    pub bytes: usize,
}

/// Counts calls.
pub trait Meter: Send + Sync + 'static {
    /// A call is over.
    fn called(&self, called: &Called);
}
