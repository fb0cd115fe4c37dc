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
    CONNECTIONS_CLOSED: Counter, "millstream_connections_closed", None, ["reason"], "Connections that the server refused or cut: limit, no_request, idle, slow_reader, error";
    MANIFEST_RELOADS_FAILED: Counter, "millstream_manifest_reloads_failed", None, [], "SIGHUPs whose manifests were refused; the old state goes on";
    BUDGET_USED: Gauge, "millstream_memory_budget_used", BYTES, ["budget"], "Bytes taken from a memory budget";
    BUDGET_CAP: Gauge, "millstream_memory_budget_cap", BYTES, ["budget"], "Cap of a memory budget";
    BUDGET_REFUSED: Counter, "millstream_memory_budget_refused", None, ["budget"], "Times that a memory budget had no room";
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
