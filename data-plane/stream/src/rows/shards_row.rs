//! `ds/shards/<stream uid>/<part>`: up to 4,096 shards of a stream's map, by id.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use millstream_types::{GroupId, HashKey, HashKeyRange, ShardId, ShardUid, StreamUid, sequence};

use super::RowError;
use crate::counters::ShardCounters;
use crate::shard::Shard;
use crate::wire::{Reader, Writer};

pub(crate) const PREFIX: &[u8] = b"ds/shards/";
const VERSION: u8 = 2;
/// Without groups: every shard lives beside the row.
const VERSION_WITHOUT_GROUPS: u8 = 1;

/// Shards in one row, all rows but the last are full. Persisted: keep stable. 62 bytes each and
/// the names of their groups: a row is less than what the store allows.
pub(crate) const SHARDS_PER_ROW: usize = 4096;

pub(crate) fn key(uid: StreamUid, part: u16) -> Bytes {
    Bytes::from(format!("ds/shards/{uid}/{part:04x}"))
}

pub(crate) fn decode_key(key: &[u8]) -> Result<(StreamUid, u16), RowError> {
    let decoded = std::str::from_utf8(key).ok().and_then(|text| {
        let (uid, part) = text.strip_prefix("ds/shards/")?.split_once('/')?;
        let uid = uid.parse().ok()?;
        Some((uid, u16::from_str_radix(part, 16).ok()?))
    });
    match decoded {
        Some((uid, part)) if self::key(uid, part) == key => Ok((uid, part)),
        _ => Err(RowError::Malformed("its key is not of the format")),
    }
}

pub(crate) fn encode(shards: &[Shard]) -> Vec<u8> {
    assert!(shards.len() <= SHARDS_PER_ROW, "the caller splits the map");
    let count = u32::try_from(shards.len()).expect("at most 4,096");
    let groups: BTreeSet<&GroupId> = shards.iter().filter_map(|s| s.group.as_ref()).collect();
    let groups: Vec<&GroupId> = groups.into_iter().collect();
    let mut row = Writer::with_capacity(7 + 62 * shards.len());
    row.u8(VERSION)
        .u16(u16::try_from(groups.len()).expect("at most one for each of 4,096 shards"));
    for group in &groups {
        row.text(group.as_str());
    }
    row.u32(count);
    for shard in shards {
        let place = shard.group.as_ref().map_or(0, |group| {
            let place = groups
                .binary_search(&group)
                .expect("the table holds every group");
            u16::try_from(place + 1).expect("at most 4,096")
        });
        row.u128(shard.uid.0)
            .u32(shard.id.0)
            .u64(shard.created_s)
            .u128(shard.range.start.0)
            .u128(shard.range.end.0)
            .u16(place);
    }
    row.finish()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Shard>, RowError> {
    let mut row = Reader::new(bytes);
    let with_groups = match row.u8()? {
        VERSION => true,
        VERSION_WITHOUT_GROUPS => false,
        0 => return Err(RowError::Malformed("its version is 0")),
        newer => return Err(RowError::Newer(newer)),
    };
    let groups = if with_groups {
        groups(&mut row)?
    } else {
        Vec::new()
    };
    let count = row.u32()?;
    let mut shards = Vec::new();
    for _ in 0..count {
        shards.push(Shard {
            uid: ShardUid(row.u128()?),
            id: ShardId(row.u32()?),
            created_s: row.u64()?,
            range: HashKeyRange {
                start: HashKey(row.u128()?),
                end: HashKey(row.u128()?),
            },
            group: match if with_groups { row.u16()? } else { 0 } {
                0 => None,
                place => Some(
                    groups
                        .get(usize::from(place) - 1)
                        .cloned()
                        .ok_or(RowError::Malformed("a shard's group is not in the table"))?,
                ),
            },
            counters: Arc::new(ShardCounters::default()),
        });
    }
    row.end()?;
    if shards.iter().any(|s| s.created_s > sequence::SECONDS_MAX) {
        return Err(RowError::Malformed(
            "a shard's creation second is too large",
        ));
    }
    Ok(shards)
}

/// The table of groups, of which shards name places from 1.
fn groups(row: &mut Reader<'_>) -> Result<Vec<GroupId>, RowError> {
    let mut groups = Vec::new();
    for _ in 0..row.u16()? {
        let group = row.text()?.parse();
        groups.push(group.map_err(|_| RowError::Malformed("a group is no log group"))?);
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const GOLDEN: &[u8] = include_bytes!("../../tests/golden/shards-row-v2.bin");
    const GOLDEN_V1: &[u8] = include_bytes!("../../tests/golden/shards-row-v1.bin");

    fn shard(uid: u128, id: u32, created_s: u64, start: u128, end: u128) -> Shard {
        Shard {
            uid: ShardUid(uid),
            id: ShardId(id),
            created_s,
            range: HashKeyRange {
                start: HashKey(start),
                end: HashKey(end),
            },
            group: None,
            counters: Arc::default(),
        }
    }

    fn group(ordinal: u32) -> Option<GroupId> {
        Some(GroupId::new("team-a", "default", ordinal).expect("a group"))
    }

    fn fields(shard: &Shard) -> (ShardUid, ShardId, u64, HashKeyRange, Option<GroupId>) {
        let group = shard.group.clone();
        (shard.uid, shard.id, shard.created_s, shard.range, group)
    }

    fn same(a: &[Shard], b: &[Shard]) -> bool {
        a.iter().map(fields).eq(b.iter().map(fields))
    }

    #[test]
    fn version_2_is_written_and_read_as_in_the_golden_file() {
        let mut shards = [
            shard(0xaaaa, 0, 1_700_000_000, 0, (1 << 127) - 1),
            shard(0xbbbb, 1, 1_700_000_000, 1 << 127, u128::MAX),
        ];
        shards[1].group = group(1);
        assert_eq!(encode(&shards), GOLDEN);
        assert!(same(&decode(GOLDEN).expect("the golden row"), &shards));
    }

    #[test]
    fn version_1_is_read_as_shards_beside_their_row() {
        let shards = [
            shard(0xaaaa, 0, 1_700_000_000, 0, (1 << 127) - 1),
            shard(0xbbbb, 1, 1_700_000_000, 1 << 127, u128::MAX),
        ];
        assert!(same(&decode(GOLDEN_V1).expect("the golden row"), &shards));
    }

    #[test]
    fn a_full_row_over_as_many_groups_fits_the_store() {
        let long = "n".repeat(63);
        let full: Vec<Shard> = (0..4096)
            .map(|i| {
                let mut shard = shard(0, i, 0, 0, 0);
                shard.group = Some(GroupId::new(&long, &long, u32::MAX - i).expect("a group"));
                shard
            })
            .collect();
        assert!(encode(&full).len() <= 1024 * 1024);
    }

    #[test]
    fn every_cut_of_a_row_is_refused() {
        for length in 0..GOLDEN.len() {
            assert!(decode(&GOLDEN[..length]).is_err(), "{length}");
        }
        assert!(decode(&[GOLDEN, &[0]].concat()).is_err());
    }

    #[test]
    fn a_newer_version_is_told_from_a_corrupt_row() {
        let mut newer = GOLDEN.to_vec();
        newer[0] = 3;
        assert_eq!(decode(&newer).err(), Some(RowError::Newer(3)));
    }

    #[test]
    fn a_key_reads_back_and_no_other_text_is_one() {
        let own = key(StreamUid(7), 0x1f);
        assert_eq!(decode_key(&own), Ok((StreamUid(7), 0x1f)));
        for bad in [
            "",
            "ds/shards/7/001f",
            "ds/shards/00000000000000000000000000000007/1f",
        ] {
            assert!(decode_key(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_row_reads_back_as_written(
            fields in vec((any::<u128>(), any::<u32>(), 0..=sequence::SECONDS_MAX,
                any::<u128>(), any::<u128>(), 0..4u32), 0..40),
        ) {
            let shards: Vec<Shard> = fields
                .into_iter()
                .map(|(uid, id, created_s, start, end, place)| Shard {
                    group: group(place).filter(|_| place > 0),
                    ..shard(uid, id, created_s, start, end)
                })
                .collect();
            prop_assert!(same(&decode(&encode(&shards)).expect("an own row"), &shards));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _unused = decode(&bytes);
            let _unused = decode(&[&[VERSION], &bytes[..]].concat());
            let _unused = decode_key(&bytes);
        }
    }
}
