//! What the clients of a simulated run know: the history, and the shards and rows they made.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_storage::NewRecord;
use millstream_storage::history::{Checker, GARBLED, Report};
use millstream_storage::testkit::Dice;
use millstream_types::ShardUid;

/// How far a change is known to have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Known {
    /// Not asked for.
    #[default]
    No,
    /// Asked for, not answered.
    Perhaps,
    /// Acknowledged, or seen.
    Yes,
}

#[derive(Clone, Debug)]
pub(crate) struct BookShard {
    pub(crate) uid: ShardUid,
    pub(crate) made: Known,
    pub(crate) sealed: Known,
    pub(crate) dropped: Known,
}

/// The values of a row count up: what is there must lie between what was acknowledged and what
/// was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BookRow {
    pub(crate) acked: u64,
    pub(crate) sent: u64,
}

/// The clients' book.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    pub(crate) history: Checker,
    pub(crate) shards: Vec<BookShard>,
    pub(crate) rows: BTreeMap<u8, BookRow>,
    /// What is wrong beside the records: rows, seals, drops.
    pub(crate) faults: Vec<String>,
    next_id: u64,
    next_uid: u128,
}

impl Book {
    pub(crate) fn new_uid(&mut self) -> ShardUid {
        self.next_uid += 1;
        ShardUid(self.next_uid)
    }

    /// New ids and their records.
    pub(crate) fn records(&mut self, dice: &Dice) -> (Vec<u64>, Vec<NewRecord>) {
        let (mut ids, mut records) = (Vec::new(), Vec::new());
        for _ in 0..dice.between(1, 3) {
            self.next_id += 1;
            ids.push(self.next_id);
            let len = match dice.below(40) {
                0 => dice.below(80_000),
                1..5 => dice.below(12_000),
                _ => dice.below(700),
            };
            let data = payload(self.next_id, usize::try_from(len).unwrap());
            records.push(NewRecord {
                key: Bytes::from_static(b"key"),
                data,
            });
        }
        (ids, records)
    }

    /// Shards that take appends, as far as is known.
    pub(crate) fn open_shards(&self) -> Vec<usize> {
        let open = |shard: &BookShard| {
            (shard.made, shard.sealed, shard.dropped) == (Known::Yes, Known::No, Known::No)
        };
        let all = self.shards.iter().enumerate();
        all.filter(|(_, shard)| open(shard))
            .map(|(index, _)| index)
            .collect()
    }

    /// The verdict; faults beside the records are added as words.
    pub(crate) fn close(self) -> (Report, Vec<String>) {
        (self.history.finish(), self.faults)
    }
}

fn payload(id: u64, len: usize) -> Bytes {
    let fill = id.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let head = id.to_le_bytes();
    head.into_iter()
        .chain(fill.into_iter().cycle().take(len))
        .collect()
}

/// The id in a payload, if every byte of it is as it was made.
pub(crate) fn id_of(data: &[u8]) -> u64 {
    let Some((head, rest)) = data.split_first_chunk::<8>() else {
        return GARBLED;
    };
    let id = u64::from_le_bytes(*head);
    if payload(id, rest.len()) == data {
        id
    } else {
        GARBLED
    }
}
