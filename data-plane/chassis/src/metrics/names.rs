//! Every `millstream_*` metric: its name, kind, unit, labels and meaning. The reference page
//! `docs/reference/metrics.md` is made from these tables.

/// What a metric counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Up only; shown with `_total`.
    Counter,
    /// Up and down.
    Gauge,
    /// A distribution; shown with `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name without unit and ending.
    pub base: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// The unit, the last word of the name.
    pub unit: Option<Unit>,
    /// The labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

impl Name {
    /// The name as a scraper sees it.
    #[must_use]
    pub fn shown(&self) -> String {
        let unit = match self.unit {
            Some(Unit::Bytes) => "_bytes",
            Some(Unit::Seconds) => "_seconds",
            None => "",
        };
        let ending = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{}{unit}{ending}", self.base)
    }
}

macro_rules! names {
    ($($name:ident: $kind:ident, $base:literal, $unit:expr, $labels:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $name: Name = Name {
                base: $base,
                kind: Kind::$kind,
                unit: $unit,
                labels: &$labels,
                help: $help,
            };
        )*

        /// All of them, in the order of the reference page.
        pub static ALL: &[&Name] = &[$(&$name),*];
    };
}

const BYTES: Option<Unit> = Some(Unit::Bytes);
const SECONDS: Option<Unit> = Some(Unit::Seconds);

names! {
    BUILD: Gauge, "millstream_build", None, ["version"], "The running version; always 1";
    READY: Gauge, "millstream_ready", None, [], "Whether readyz answers 200";
    HTTP_REQUESTS: Counter, "millstream_http_requests", None, ["operation", "code", "error", "version"], "Requests answered, by operation, HTTP status, AWS error code and HTTP version";
    HTTP_REQUEST_SECONDS: Histogram, "millstream_http_request", SECONDS, ["operation"], "Time from a request's head to its answer";
    HTTP_REQUEST_BYTES: Counter, "millstream_http_request", BYTES, [], "Bytes of request bodies read";
    HTTP_RESPONSE_BYTES: Counter, "millstream_http_response", BYTES, [], "Bytes of response bodies made";
    THROTTLED: Counter, "millstream_throttled_requests", None, ["operation"], "Requests answered with ProvisionedThroughputExceededException because a memory budget or the disk was full";
    CONNECTIONS_OPEN: Gauge, "millstream_connections_open", None, [], "Connections open now";
    CONNECTIONS: Counter, "millstream_connections", None, [], "Connections accepted";
    CONNECTIONS_CLOSED: Counter, "millstream_connections_closed", None, ["reason"], "Connections that the server refused or cut: limit, no_request, tls, idle, slow_reader, error";
    MANIFEST_RELOADS_FAILED: Counter, "millstream_manifest_reloads_failed", None, [], "SIGHUPs whose manifests were refused; the old state goes on";
    FILE_RELOADS_FAILED: Counter, "millstream_file_reloads_failed", None, ["file"], "Files of keys or certificates that changed and were refused; the old state goes on";
    RPC_CALLS: Counter, "millstream_rpc_calls", None, ["side", "call", "outcome"], "Calls of gateways to shard servers, and of shard servers to one another, counted by the client and by the server, each attempt: done, refused, overloaded, not_sent, unknown, failed. A shard server's `client` side is what it asks other shard servers: OpenShards, DropShards, Status";
    RPC_CALL_SECONDS: Histogram, "millstream_rpc_call", SECONDS, ["side", "call"], "Time that a call to a shard server took; of a stream, until its first word";
    RPC_REQUEST_BYTES: Counter, "millstream_rpc_request", BYTES, [], "Bytes of requests that gateways and other shard servers sent here";
    BUDGET_USED: Gauge, "millstream_memory_budget_used", BYTES, ["budget"], "Bytes taken from a memory budget";
    BUDGET_CAP: Gauge, "millstream_memory_budget_cap", BYTES, ["budget"], "Cap of a memory budget";
    BUDGET_REFUSED: Counter, "millstream_memory_budget_refused", None, ["budget"], "Times that a memory budget had no room";
    CERTIFICATE_ENDS: Gauge, "millstream_certificate_ends", SECONDS, [], "When the certificate that other processes are shown ends, in seconds since 1970; only in a process under an operator";
    WAL_WINDOWS: Counter, "millstream_wal_windows", None, [], "Commit windows made durable";
    WAL_SYNCS: Counter, "millstream_wal_syncs", None, [], "Syncs of the write-ahead log";
    WAL_ROLLS: Counter, "millstream_wal_rolls", None, [], "Log files that were ended";
    WAL_WRITTEN: Counter, "millstream_wal_written", BYTES, [], "Bytes written to the log, padding included";
    WAL_FILES_CREATED: Counter, "millstream_wal_files_created", None, [], "Log files made and zeroed";
    WAL_FILES_RECYCLED: Counter, "millstream_wal_files_recycled", None, [], "Log files used again";
    WAL_UNCOVERED: Gauge, "millstream_wal_uncovered", BYTES, [], "Bytes of the log that no checkpoint covers";
    RECORDS: Counter, "millstream_records", None, [], "Records made durable";
    RECORD_BYTES: Counter, "millstream_records", BYTES, [], "Bytes of keys and data made durable";
    CHECKPOINTS: Counter, "millstream_checkpoints", None, [], "Checkpoints finished";
    CHECKPOINT_SYNCS: Counter, "millstream_checkpoint_syncs", None, [], "Syncs of segments and directories for checkpoints";
    CHECKPOINT_WRITTEN: Counter, "millstream_checkpoint_written", BYTES, [], "Bytes written to checkpoints";
    SEGMENT_WRITTEN: Counter, "millstream_segment_written", BYTES, [], "Bytes written to segments";
    SEGMENTS_CREATED: Counter, "millstream_segments_created", None, [], "Segments begun";
    SEGMENTS_REMOVED: Counter, "millstream_segments_removed", None, [], "Segments removed by retention or deletion";
    READS_TAIL: Counter, "millstream_reads_tail", None, [], "Reads answered from memory";
    READS_SEGMENT: Counter, "millstream_reads_segment", None, [], "Reads answered from segments";
    STORE_REFUSED_OVERLOADED: Counter, "millstream_store_refused_overloaded", None, [], "Requests that the engine refused because its memory was used up";
    STORE_REFUSED_NO_SPACE: Counter, "millstream_store_refused_no_space", None, [], "Requests that the engine refused because the disk was full";
    STORE_TAIL: Gauge, "millstream_store_tail", BYTES, [], "Durable batches kept for readers at the tip";
    STORE_UNWRITTEN: Gauge, "millstream_store_unwritten", BYTES, [], "Bytes taken and not yet in a segment";
    STORE_READ_AHEAD: Gauge, "millstream_store_read_ahead", BYTES, [], "Buffers of segment reads";
    STORE_NO_SPACE: Gauge, "millstream_store_no_space", None, [], "1 while a full disk keeps writes away";
    RETENTION_PAUSED: Gauge, "millstream_retention_paused", None, [], "1 while a jump of the wall clock keeps retention from deleting";
    SHARDS: Gauge, "millstream_shards", None, [], "Shards in the data directory";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_one_form_and_there_once() {
        let mut seen = std::collections::BTreeSet::new();
        for name in ALL {
            let shown = name.shown();
            assert!(shown.starts_with("millstream_"), "{shown}");
            assert!(
                shown
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{shown}"
            );
            assert!(
                !name.base.ends_with("_total"),
                "{shown}: the ending is added"
            );
            assert!(seen.insert(shown), "{} is there twice", name.base);
        }
    }
}
