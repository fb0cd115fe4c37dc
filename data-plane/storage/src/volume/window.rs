//! What passes between the lanes: requests into a commit window, and the durable window out of it.

use crate::store::{Append, AppendError, Appended, ApplyError, Change, StoreError};

use super::format::batch;
use super::format::checkpoint::LogPosition;
use super::format::entry::{self, Entry};

/// One request of a caller.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Append(Vec<Append>),
    Apply(Vec<Change>),
}

impl Request {
    /// Most bytes that the request takes in a frame; also what admission charges for it.
    pub(crate) fn frame_len(&self) -> usize {
        match self {
            Self::Append(appends) => appends
                .iter()
                .map(|a| entry::HEADER_BYTES + batch::HEADER_BYTES + batch::body_len(&a.records))
                .sum(),
            Self::Apply(changes) => changes.iter().map(entry::change_len).sum(),
        }
    }

    /// Whether it may free space, so that it is taken on a full disk too.
    pub(crate) const fn may_free(&self) -> bool {
        matches!(self, Self::Apply(_))
    }
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Append(Result<Vec<Result<Appended, AppendError>>, StoreError>),
    Apply(Result<(), ApplyError>),
}

impl Reply {
    /// The refusal of a whole request.
    pub(crate) fn refused(request: &Request, error: StoreError) -> Self {
        match request {
            Request::Append(_) => Self::Append(Err(error)),
            Request::Apply(_) => Self::Apply(Err(error.into())),
        }
    }
}

/// A durable commit window.
#[derive(Debug)]
pub(crate) struct Window {
    /// Place behind the window's frame.
    pub(crate) end: LogPosition,
    pub(crate) entries: Vec<Entry>,
    /// Bytes of memory that the window holds.
    pub(crate) memory: usize,
    /// What admission charged for the window's requests; given back when the sink has it.
    pub(crate) charge: usize,
}
