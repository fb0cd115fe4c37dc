//! Golden files: the bytes of each format version, as released. A change that breaks one of them
//! breaks data directories; make a new version instead.

use std::path::Path;

use bytes::Bytes;
use millstream_types::{Millis, ShardUid};

use super::batch::{self, Batch};
use super::checkpoint::{Checkpoint, LogPosition, SegmentMeta, ShardState};
use super::current::{Current, Epoch};
use super::entry::{self, Entry};
use super::frame::{self, Frame, FrameHeader, FrameKind};
use super::segment::{self, IndexEntry};
use crate::store::{Change, NewRecord};

const SHARD: ShardUid = ShardUid(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);

/// The golden bytes; written instead of read where `UPDATE=1` is set and the file is absent.
fn golden(name: &str, encoded: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let hex: String = encoded
        .chunks(32)
        .map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<String>() + "\n")
        .collect();
    let wanted = std::env::var_os("UPDATE").is_some() && !path.try_exists().expect("readable");
    if wanted {
        std::fs::write(&path, hex).expect("the golden file is written");
    }
    let text = std::fs::read_to_string(&path).expect("the golden file is there");
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
            u8::from_str_radix(pair, 16).expect("hexadecimal digits")
        })
        .collect()
}

fn records() -> Vec<NewRecord> {
    let record = |key: &'static str, data: &'static str| NewRecord {
        key: Bytes::from_static(key.as_bytes()),
        data: Bytes::from_static(data.as_bytes()),
    };
    vec![record("N14228", "flight 1545"), record("unknown", "")]
}

fn batch_bytes() -> Vec<u8> {
    let mut out = Vec::new();
    batch::encode(
        &mut out,
        SHARD,
        41,
        Millis(1_700_000_000_123),
        records().iter(),
    );
    out
}

#[test]
fn batch_v1() {
    let read = golden("batch-v1.hex", &batch_bytes());
    assert_eq!(read, batch_bytes());
    let batch = Batch::decode(Bytes::from(read)).expect("a batch");
    let found: Vec<_> = batch.records(0).collect();
    assert_eq!((found[0].number, found[1].number), (41, 42));
    assert_eq!(found[0].arrival, Millis(1_700_000_000_123));
    assert_eq!(
        (&found[0].key[..], &found[0].data[..]),
        (&b"N14228"[..], &b"flight 1545"[..])
    );
}

#[test]
fn frame_v1() {
    let row = |text: &'static str| Bytes::from_static(text.as_bytes());
    let changes = [
        Change::OpenShard(SHARD),
        Change::SealShard(SHARD),
        Change::TrimShard {
            shard: SHARD,
            before: 9,
        },
        Change::DropShard(SHARD),
        Change::KeepShard {
            shard: SHARD,
            keep_ms: 86_400_000,
        },
        Change::PutRow {
            key: row("stream/1"),
            value: row("value"),
        },
        Change::DeleteRow {
            key: row("stream/2"),
        },
    ];
    let mut out = Vec::new();
    frame::begin(&mut out);
    let start = entry::begin_batch(&mut out);
    out.extend_from_slice(&batch_bytes());
    entry::finish_batch(&mut out, start);
    for change in &changes {
        entry::encode_change(&mut out, change);
    }
    let header = FrameHeader {
        kind: FrameKind::Window,
        log_id: 0x1111_2222_3333_4444,
        generation: 0x5555_6666_7777_8888,
        epoch: 3,
        lsn: 8192,
        synced_lsn: 4096,
        body_len: 0,
    };
    let header = frame::finish(&mut out, header);
    // the padding is not worth keeping
    let whole = frame::HEADER_BYTES + header.body_len as usize;
    let read = golden("frame-v1.hex", &out[..whole]);
    assert_eq!(read, out[..whole]);
    let decoded = Frame::decode(&Bytes::from(read)).expect("a frame");
    assert_eq!(decoded.header, header);
    let entries = Entry::decode_all(&decoded.body).expect("entries");
    let (first, rest) = entries.split_first().expect("a batch first");
    assert!(matches!(first, Entry::Batch(batch) if batch.bytes == batch_bytes()));
    for (entry, change) in rest.iter().zip(&changes) {
        assert!(
            matches!(entry, Entry::Change(found) if found == change),
            "{entry:?}"
        );
    }
    assert_eq!(rest.len(), changes.len());
}

#[test]
fn current_v1() {
    let current = Current {
        log_id: 0x1111_2222_3333_4444,
        epochs: vec![
            Epoch {
                epoch: 1,
                start: 4096,
                end: Some(12_288),
                generation: 7,
            },
            Epoch {
                epoch: 2,
                start: 1_048_576,
                end: None,
                generation: 8,
            },
        ],
    };
    let read = golden("current-v1.hex", &current.encode());
    assert_eq!(read, current.encode());
    assert_eq!(Current::decode(&read), Ok(current));
}

#[test]
fn segment_v1() {
    let index = vec![
        IndexEntry {
            number: 41,
            offset: 64,
            arrival: Millis(1_700_000_000_123),
        },
        IndexEntry {
            number: 900,
            offset: 70_000,
            arrival: Millis(1_700_000_001_000),
        },
    ];
    let mut bytes = segment::encode_header(SHARD, 41).to_vec();
    bytes.extend_from_slice(&batch_bytes());
    let data_len = bytes.len() as u64;
    bytes.extend_from_slice(&segment::encode_tail(&index, data_len, 42));
    let read = golden("segment-v1.hex", &bytes);
    assert_eq!(read, bytes);
    assert_eq!(segment::check_header(&read, SHARD, 41), Ok(()));
    let tail = &read[usize::try_from(data_len).expect("small")..];
    assert_eq!(segment::decode_tail(tail, data_len, 42), Ok(index));
}

#[test]
fn checkpoint_v1() {
    let segment = SegmentMeta {
        first: 41,
        last: 42,
        created: Millis(1_700_000_000_000),
        first_arrival: Millis(1_700_000_000_123),
        last_arrival: Millis(1_700_000_000_456),
        len: 5_000,
        sealed: true,
    };
    let shard = ShardState {
        uid: SHARD,
        first: 41,
        next: 43,
        last_arrival: Millis(1_700_000_000_456),
        sealed: false,
        keep_ms: 86_400_000,
        segments: vec![segment],
    };
    let checkpoint = Checkpoint {
        position: LogPosition {
            epoch: 2,
            lsn: 1_052_672,
            file_first: 1_048_576,
            generation: 8,
        },
        wall: Millis(1_700_000_002_000),
        shards: vec![shard],
        rows: vec![(
            Bytes::from_static(b"stream/1"),
            Bytes::from_static(b"value"),
        )],
    };
    let read = golden("checkpoint-v1.hex", &checkpoint.encode());
    assert_eq!(read, checkpoint.encode());
    assert_eq!(Checkpoint::decode(&Bytes::from(read)), Ok(checkpoint));
}
