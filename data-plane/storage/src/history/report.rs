//! The verdict over a history: counts, and the first faults in words.

use millstream_types::ShardUid;

/// Faults that a report keeps in words; the others are only counted.
const FAULTS_KEPT_MAX: usize = 20;

/// One thing that a durable, ordered log must not show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Fault {
    /// A record that was acknowledged, or only seen, is gone.
    #[error("lost: id {id} was at number {number} of {shard} (acknowledged: {acked}) and is gone")]
    Lost {
        shard: ShardUid,
        number: u64,
        id: u64,
        acked: bool,
    },
    /// Numbers were left out that no client knows a record of.
    #[error("lost: a read of {shard} left out some of the numbers {from}..{to}")]
    Gap { shard: ShardUid, from: u64, to: u64 },
    /// One record has two numbers.
    #[error("doubled: id {id} is at number {number} of {shard} and was at {other}")]
    Doubled {
        shard: ShardUid,
        number: u64,
        id: u64,
        other: u64,
    },
    /// A record lies below another that was durable before it was sent.
    #[error("reordered: id {id} at number {number} of {shard} was sent after {other} was durable")]
    Reordered {
        shard: ShardUid,
        number: u64,
        id: u64,
        other: u64,
    },
    /// The records of one append do not have adjacent numbers in their order.
    #[error("reordered: id {id} at number {number} of {shard} is not beside its append's others")]
    Scattered {
        shard: ShardUid,
        number: u64,
        id: u64,
    },
    /// One read showed a number again, or one below what was asked for.
    #[error("reordered: a read of {shard} went back to number {number} (id {id})")]
    Backwards {
        shard: ShardUid,
        number: u64,
        id: u64,
    },
    /// A child had records before its parent was sealed.
    #[error("reordered: shard {child} had records before its parent {parent} was sealed")]
    ChildFirst { child: ShardUid, parent: ShardUid },
    /// A record that nobody sent to this shard, or that was refused.
    #[error("phantom: id {id} at number {number} of {shard} was never sent there, or was refused")]
    Phantom {
        shard: ShardUid,
        number: u64,
        id: u64,
    },
    /// A trimmed record is back.
    #[error("phantom: id {id} at number {number} of {shard} was trimmed and is back")]
    Untrimmed {
        shard: ShardUid,
        number: u64,
        id: u64,
    },
    /// A sealed shard took a record.
    #[error("phantom: id {id} got number {number} of {shard} after the shard was sealed")]
    AfterSeal {
        shard: ShardUid,
        number: u64,
        id: u64,
    },
}

/// What a history came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records that were acknowledged.
    pub acked: u64,
    /// Records that were acknowledged or seen and are gone.
    pub lost: u64,
    /// Records with two numbers.
    pub doubled: u64,
    /// Records out of order.
    pub reordered: u64,
    /// Records that should not be there.
    pub phantom: u64,
    /// The first faults.
    pub faults: Vec<Fault>,
}

impl Report {
    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        (self.lost, self.doubled, self.reordered, self.phantom) == (0, 0, 0, 0)
    }

    pub(super) fn add(&mut self, fault: Fault) {
        let count = match &fault {
            Fault::Lost { .. } | Fault::Gap { .. } => &mut self.lost,
            Fault::Doubled { .. } => &mut self.doubled,
            Fault::Reordered { .. }
            | Fault::Scattered { .. }
            | Fault::Backwards { .. }
            | Fault::ChildFirst { .. } => &mut self.reordered,
            Fault::Phantom { .. } | Fault::Untrimmed { .. } | Fault::AfterSeal { .. } => {
                &mut self.phantom
            },
        };
        *count += 1;
        if self.faults.len() < FAULTS_KEPT_MAX {
            self.faults.push(fault);
        }
    }
}
