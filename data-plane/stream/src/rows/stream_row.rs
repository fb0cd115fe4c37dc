//! `ds/stream/<uid>`: a stream's identity and settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use millstream_types::{Millis, Scope, ShardMetrics, StreamMode, StreamName, StreamUid};

use super::RowError;
use crate::counters::StreamCounters;
use crate::shard::ShardMap;
use crate::stream::{Settings, Status, Stream};
use crate::wire::{Malformed, Reader, Writer};

pub(crate) const PREFIX: &[u8] = b"ds/stream/";
const VERSION: u8 = 2;
/// Without a status: the stream is active.
const VERSION_WITHOUT_STATUS: u8 = 1;

/// Persisted: keep stable, never reuse.
const MODE_PROVISIONED: u8 = 1;
const MODE_ON_DEMAND: u8 = 2;

/// Persisted: keep stable, never reuse.
const STATUS_CREATING: u8 = 1;
const STATUS_ACTIVE: u8 = 2;
const STATUS_DELETING: u8 = 3;
const STATUS_RETAINED: u8 = 4;

pub(crate) fn key_text(uid: StreamUid) -> String {
    format!("ds/stream/{uid}")
}

pub(crate) fn key(uid: StreamUid) -> Bytes {
    Bytes::from(key_text(uid))
}

/// What the row holds; the shards come from rows of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamRow {
    pub(crate) uid: StreamUid,
    scope: Scope,
    name: StreamName,
    status: Status,
    mode: StreamMode,
    created: Millis,
    settings: Settings,
}

impl StreamRow {
    pub(crate) fn into_stream(self, map: Arc<ShardMap>) -> Stream {
        Stream {
            uid: self.uid,
            scope: self.scope,
            name: self.name,
            status: self.status,
            mode: self.mode,
            created: self.created,
            settings: self.settings,
            map,
            counters: Arc::new(StreamCounters::default()),
        }
    }
}

pub(crate) fn encode(stream: &Stream) -> Vec<u8> {
    let settings = &stream.settings;
    let mut row = Writer::with_capacity(256);
    row.u8(VERSION)
        .u128(stream.uid.0)
        .text(stream.scope.account.as_str())
        .text(stream.scope.region.as_str())
        .text(stream.name.as_str())
        .u8(match stream.status {
            Status::Creating => STATUS_CREATING,
            Status::Active => STATUS_ACTIVE,
            Status::Deleting => STATUS_DELETING,
            Status::Retained => STATUS_RETAINED,
        })
        .u8(match stream.mode {
            StreamMode::Provisioned => MODE_PROVISIONED,
            StreamMode::OnDemand => MODE_ON_DEMAND,
        })
        .u64(stream.created.0)
        .u32(settings.retention_hours)
        .u32(settings.max_record_kib)
        .u8(settings.shard_level_metrics.bits())
        .u16(u16::try_from(settings.tags.len()).expect("a stream has at most 50 tags"));
    for (key, value) in &settings.tags {
        row.text(key).text(value);
    }
    row.finish()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<StreamRow, RowError> {
    let mut row = Reader::new(bytes);
    let with_status = match row.u8()? {
        VERSION => true,
        VERSION_WITHOUT_STATUS => false,
        0 => return Err(RowError::Malformed("its version is 0")),
        newer => return Err(RowError::Newer(newer)),
    };
    let uid = StreamUid(row.u128()?);
    let scope = Scope {
        account: parse(row.text()?, "its account is no account")?,
        region: parse(row.text()?, "its region is no region")?,
    };
    let name = parse(row.text()?, "its name is no stream name")?;
    let status = match if with_status {
        row.u8()?
    } else {
        STATUS_ACTIVE
    } {
        STATUS_CREATING => Status::Creating,
        STATUS_ACTIVE => Status::Active,
        STATUS_DELETING => Status::Deleting,
        STATUS_RETAINED => Status::Retained,
        _ => return Err(RowError::Malformed("its status is unknown")),
    };
    let mode = match row.u8()? {
        MODE_PROVISIONED => StreamMode::Provisioned,
        MODE_ON_DEMAND => StreamMode::OnDemand,
        _ => return Err(RowError::Malformed("its mode is unknown")),
    };
    let created = Millis(row.u64()?);
    let retention_hours = row.u32()?;
    let max_record_kib = row.u32()?;
    let shard_level_metrics = ShardMetrics::of_bits(row.u8()?)
        .ok_or(RowError::Malformed("a shard-level metric is unknown"))?;
    let mut tags = BTreeMap::new();
    for _ in 0..row.u16()? {
        let key = row.text()?.to_owned();
        tags.insert(key, row.text()?.to_owned());
    }
    row.end()?;
    let settings = Settings {
        retention_hours,
        max_record_kib,
        tags,
        shard_level_metrics,
    };
    if settings.validate().is_err() {
        return Err(RowError::Malformed("a setting is outside its range"));
    }
    Ok(StreamRow {
        uid,
        scope,
        name,
        status,
        mode,
        created,
        settings,
    })
}

fn parse<T: std::str::FromStr>(text: &str, reason: &'static str) -> Result<T, Malformed> {
    text.parse().map_err(|_| Malformed(reason))
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;
    use crate::rows::tests::one_shard_map;

    const GOLDEN: &[u8] = include_bytes!("../../tests/golden/stream-row-v2.bin");
    const GOLDEN_V1: &[u8] = include_bytes!("../../tests/golden/stream-row-v1.bin");

    fn stream(uid: u128, name: &str, mode: StreamMode, created: u64, settings: Settings) -> Stream {
        let row = StreamRow {
            uid: StreamUid(uid),
            scope: Scope {
                account: "123456789012".parse().expect("an account"),
                region: "eu-west-1".parse().expect("a region"),
            },
            name: name.parse().expect("a name"),
            status: Status::Active,
            mode,
            created: Millis(created),
            settings,
        };
        row.into_stream(Arc::new(one_shard_map()))
    }

    fn golden_stream() -> Stream {
        let tags = [("team", "data"), ("stufe", "größer")];
        let settings = Settings {
            retention_hours: 168,
            max_record_kib: 2048,
            tags: tags.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            shard_level_metrics: ShardMetrics::of_bits(0b101).expect("two metrics"),
        };
        let uid = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
        stream(
            uid,
            "flights",
            StreamMode::Provisioned,
            1_700_000_000_123,
            settings,
        )
    }

    fn assert_same(row: &StreamRow, stream: &Stream) {
        assert_eq!(
            (
                row.uid,
                &row.scope,
                &row.name,
                row.status,
                row.mode,
                row.created,
                &row.settings
            ),
            (
                stream.uid,
                &stream.scope,
                &stream.name,
                stream.status,
                stream.mode,
                stream.created,
                &stream.settings
            )
        );
    }

    #[test]
    fn version_2_is_written_and_read_as_in_the_golden_file() {
        let mut stream = golden_stream();
        stream.status = Status::Deleting;
        assert_eq!(encode(&stream), GOLDEN);
        assert_same(&decode(GOLDEN).expect("the golden row"), &stream);
    }

    #[test]
    fn version_1_is_read_as_an_active_stream() {
        assert_same(
            &decode(GOLDEN_V1).expect("the golden row"),
            &golden_stream(),
        );
    }

    #[test]
    fn every_cut_of_a_row_is_refused() {
        for length in 0..GOLDEN.len() {
            assert!(
                matches!(decode(&GOLDEN[..length]), Err(RowError::Malformed(_))),
                "{length}"
            );
        }
        let longer = [GOLDEN, &[0]].concat();
        assert_eq!(
            decode(&longer),
            Err(RowError::Malformed("it has bytes after its end"))
        );
    }

    #[test]
    fn a_newer_version_is_told_from_a_corrupt_row() {
        let mut newer = GOLDEN.to_vec();
        newer[0] = 3;
        assert_eq!(decode(&newer), Err(RowError::Newer(3)));
        newer[0] = 0;
        assert!(matches!(decode(&newer), Err(RowError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn a_row_reads_back_as_written(
            uid: u128,
            name in "[a-zA-Z0-9_.-]{1,128}",
            on_demand: bool,
            status in prop_oneof![
                Just(Status::Creating), Just(Status::Active), Just(Status::Deleting),
                Just(Status::Retained),
            ],
            created: u64,
            retention_hours in 24..=8760u32,
            max_record_kib in 1024..=10240u32,
            bits in 0..=0x7fu8,
            tags in btree_map("\\PC{1,128}", "\\PC{0,256}", 0..=50),
        ) {
            let mode = if on_demand { StreamMode::OnDemand } else { StreamMode::Provisioned };
            let shard_level_metrics = ShardMetrics::of_bits(bits).expect("seven bits");
            let settings = Settings { retention_hours, max_record_kib, tags, shard_level_metrics };
            let stream = Stream { status, ..stream(uid, &name, mode, created, settings) };
            assert_same(&decode(&encode(&stream)).expect("an own row"), &stream);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _unused = decode(&bytes);
            let _unused = decode(&[&[VERSION], &bytes[..]].concat());
        }
    }
}
