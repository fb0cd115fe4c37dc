//! `ds/guests/<stream uid>`: the shards that a stream of another group has here, or that it had
//! some.

use bytes::Bytes;
use millstream_types::{GroupId, Millis, ShardUid, StreamUid, caps};

use super::RowError;
use crate::guests::Guests;
use crate::wire::{Reader, Writer};

pub(crate) const PREFIX: &[u8] = b"ds/guests/";
const VERSION: u8 = 1;

/// Persisted: keep stable, never reuse.
const STATE_HELD: u8 = 1;
const STATE_GONE: u8 = 2;
/// In place of hours: all records are kept.
const ALL: u32 = 0;

/// What the row says of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GuestsRow {
    /// It has shards here.
    Held(Guests),
    /// It was removed then; whoever asks to open shards for it comes too late.
    Gone { stream: StreamUid, since: Millis },
}

impl GuestsRow {
    pub(crate) fn stream(&self) -> StreamUid {
        match self {
            Self::Held(guests) => guests.stream,
            Self::Gone { stream, .. } => *stream,
        }
    }
}

pub(crate) fn key(uid: StreamUid) -> Bytes {
    Bytes::from(format!("ds/guests/{uid}"))
}

pub(crate) fn encode(row: &GuestsRow) -> Vec<u8> {
    let mut bytes = Writer::with_capacity(128);
    bytes.u8(VERSION);
    match row {
        GuestsRow::Held(guests) => {
            let count = u32::try_from(guests.shards.len()).expect("at most 10,000 shards");
            bytes
                .u8(STATE_HELD)
                .u128(guests.stream.0)
                .text(guests.home.as_str())
                .u64(guests.created.0)
                .u32(guests.retention_hours.unwrap_or(ALL))
                .u32(count);
            for shard in &guests.shards {
                bytes.u128(shard.0);
            }
        },
        GuestsRow::Gone { stream, since } => {
            bytes.u8(STATE_GONE).u128(stream.0).u64(since.0);
        },
    }
    bytes.finish()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<GuestsRow, RowError> {
    let mut row = Reader::new(bytes);
    match row.u8()? {
        VERSION => {},
        0 => return Err(RowError::Malformed("its version is 0")),
        newer => return Err(RowError::Newer(newer)),
    }
    let decoded = match row.u8()? {
        STATE_HELD => GuestsRow::Held(held(&mut row)?),
        STATE_GONE => GuestsRow::Gone {
            stream: StreamUid(row.u128()?),
            since: Millis(row.u64()?),
        },
        _ => return Err(RowError::Malformed("its state is unknown")),
    };
    row.end()?;
    Ok(decoded)
}

fn held(row: &mut Reader<'_>) -> Result<Guests, RowError> {
    let stream = StreamUid(row.u128()?);
    let home: Result<GroupId, _> = row.text()?.parse();
    let home = home.map_err(|_| RowError::Malformed("its home is no log group"))?;
    let created = Millis(row.u64()?);
    let retention_hours = match row.u32()? {
        ALL => None,
        hours @ caps::RETENTION_HOURS_MIN..=caps::RETENTION_HOURS_MAX => Some(hours),
        _ => return Err(RowError::Malformed("its retention is outside its range")),
    };
    let mut shards = Vec::new();
    for _ in 0..row.u32()? {
        shards.push(ShardUid(row.u128()?));
    }
    Ok(Guests {
        stream,
        home,
        created,
        retention_hours,
        shards,
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    const GOLDEN_HELD: &[u8] = include_bytes!("../../tests/golden/guests-row-v1.bin");
    const GOLDEN_GONE: &[u8] = include_bytes!("../../tests/golden/guests-row-v1-gone.bin");

    fn home() -> GroupId {
        GroupId::new("team-a", "default", 2).expect("a group")
    }

    fn golden_held() -> GuestsRow {
        GuestsRow::Held(Guests {
            stream: StreamUid(0x77),
            home: home(),
            created: Millis(1_700_000_000_123),
            retention_hours: Some(168),
            shards: vec![ShardUid(0xaaaa), ShardUid(0xbbbb)],
        })
    }

    fn golden_gone() -> GuestsRow {
        GuestsRow::Gone {
            stream: StreamUid(0x77),
            since: Millis(1_700_000_000_123),
        }
    }

    #[test]
    fn version_1_is_written_and_read_as_in_the_golden_files() {
        for (row, golden) in [(golden_held(), GOLDEN_HELD), (golden_gone(), GOLDEN_GONE)] {
            assert_eq!(encode(&row), golden);
            assert_eq!(decode(golden), Ok(row));
        }
    }

    #[test]
    fn every_cut_of_a_row_is_refused() {
        for golden in [GOLDEN_HELD, GOLDEN_GONE] {
            for length in 0..golden.len() {
                assert!(decode(&golden[..length]).is_err(), "{length}");
            }
            assert!(decode(&[golden, &[0]].concat()).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_told_from_a_corrupt_row() {
        let mut newer = GOLDEN_HELD.to_vec();
        newer[0] = 2;
        assert_eq!(decode(&newer), Err(RowError::Newer(2)));
    }

    #[test]
    fn the_row_of_the_largest_stream_fits_the_store() {
        let GuestsRow::Held(mut guests) = golden_held() else {
            panic!("the golden row holds shards");
        };
        guests.shards = (0..10_000).map(ShardUid).collect();
        assert!(encode(&GuestsRow::Held(guests)).len() <= 1024 * 1024);
    }

    proptest! {
        #[test]
        fn a_row_reads_back_as_written(
            stream: u128, created: u64, retention_hours in option::of(24..=8760u32),
            shards in vec(any::<u128>(), 0..40),
        ) {
            let row = GuestsRow::Held(Guests {
                stream: StreamUid(stream),
                home: home(),
                created: Millis(created),
                retention_hours,
                shards: shards.into_iter().map(ShardUid).collect(),
            });
            prop_assert_eq!(decode(&encode(&row)), Ok(row));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _unused = decode(&bytes);
            let _unused = decode(&[&[VERSION], &bytes[..]].concat());
        }
    }
}
