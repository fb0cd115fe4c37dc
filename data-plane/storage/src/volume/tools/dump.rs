//! `dump`: says in lines of JSON what a data directory holds. Names, numbers and sizes; never the
//! data of a record.

use std::io::{self, Write};
use std::path::Path;

use super::super::error::OpenError;
use super::super::format::entry::Entry;
use super::super::layout;
use super::super::open::find;
use super::super::wal::scan::scan;
use crate::disk::Disk;
use crate::store::Change;

/// Writes `CURRENT`, the newest checkpoint and every frame behind it to `out`, a line of JSON each.
/// What stands before damage is written before the error is returned.
///
/// # Errors
/// As [`verify`](super::verify); [`OpenError::Io`] where `out` fails.
pub fn dump(dir: &Path, out: &mut dyn Write) -> Result<(), OpenError> {
    let disk = super::lock(dir)?;
    dump_disk(disk.as_ref(), out)
}

fn dump_disk<D: Disk>(disk: &D, out: &mut dyn Write) -> Result<(), OpenError> {
    let written = |result: io::Result<()>| {
        result.map_err(|error| OpenError::io("writing", Path::new("the dump"), error))
    };
    let found = find(disk)?;
    for epoch in found.current.iter().flat_map(|current| &current.epochs) {
        let end = epoch
            .end
            .map_or_else(|| "null".to_owned(), |end| end.to_string());
        written(writeln!(
            out,
            r#"{{"kind":"epoch","epoch":{},"start_lsn":{},"end_lsn":{end}}}"#,
            epoch.epoch, epoch.start,
        ))?;
    }
    let checkpoint = &found.checkpoint;
    written(writeln!(
        out,
        r#"{{"kind":"checkpoint","number":{},"lsn":{},"wall_ms":{},"shards":{},"rows":{}}}"#,
        found.checkpoint_number,
        checkpoint.position.lsn,
        checkpoint.wall.0,
        checkpoint.shards.len(),
        checkpoint.rows.len(),
    ))?;
    for shard in &checkpoint.shards {
        written(writeln!(
            out,
            r#"{{"kind":"shard","shard":"{}","first":{},"next":{},"sealed":{},"segments":{}}}"#,
            shard.uid,
            shard.first,
            shard.next,
            shard.sealed,
            shard.segments.len(),
        ))?;
        for segment in &shard.segments {
            written(writeln!(
                out,
                r#"{{"kind":"segment","file":"{}","first":{},"last":{},"bytes":{},"sealed":{}}}"#,
                layout::segment_file(shard.uid, segment.first).display(),
                segment.first,
                segment.last,
                segment.len,
                segment.sealed,
            ))?;
        }
    }
    for span in &found.spans {
        scan(disk, span, &mut |frame, after| {
            let path = layout::wal_file(after.file_first);
            let lsn = frame.header.lsn;
            let entries = Entry::decode_all(&frame.body).map_err(|error| {
                OpenError::corrupt(&path, lsn.saturating_sub(after.file_first), lsn, error)
            })?;
            written(writeln!(
                out,
                r#"{{"kind":"frame","lsn":{lsn},"epoch":{},"synced_lsn":{},"bytes":{}}}"#,
                frame.header.epoch,
                frame.header.synced_lsn,
                frame.header.total_len(),
            ))?;
            entries
                .iter()
                .try_for_each(|entry| written(writeln!(out, "{}", entry_json(entry))))
        })?;
    }
    Ok(())
}

fn entry_json(entry: &Entry) -> String {
    let shard_change = |kind: &str, shard: &dyn std::fmt::Display| {
        format!(r#"{{"kind":"{kind}","shard":"{shard}"}}"#)
    };
    match entry {
        Entry::Batch(batch) => format!(
            r#"{{"kind":"batch","shard":"{}","first":{},"count":{},"arrival_ms":{},"bytes":{}}}"#,
            batch.header.shard,
            batch.header.first,
            batch.header.count,
            batch.header.arrival.0,
            batch.bytes.len(),
        ),
        Entry::Change(change) => match change {
            Change::OpenShard(uid) => shard_change("open_shard", uid),
            Change::SealShard(uid) => shard_change("seal_shard", uid),
            Change::DropShard(uid) => shard_change("drop_shard", uid),
            Change::TrimShard { shard, before } => {
                format!(r#"{{"kind":"trim_shard","shard":"{shard}","before":{before}}}"#)
            },
            Change::KeepShard { shard, keep_ms } => {
                format!(r#"{{"kind":"keep_shard","shard":"{shard}","keep_ms":{keep_ms}}}"#)
            },
            Change::PutRow { key, value } => format!(
                r#"{{"kind":"put_row","key":"{}","bytes":{}}}"#,
                key.escape_ascii().to_string().replace('\\', "\\\\"),
                value.len(),
            ),
            Change::DeleteRow { key } => format!(
                r#"{{"kind":"delete_row","key":"{}"}}"#,
                key.escape_ascii().to_string().replace('\\', "\\\\"),
            ),
        },
    }
}
