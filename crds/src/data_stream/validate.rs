//! The rules of a `DataStream` that its types cannot say.
//!
//! Pure: no I/O, no other objects. Every rule here has a twin in the CRD's schema or CEL rules
//! (`crate::k8s`), and a row in `tests/manifests/`.

use std::collections::BTreeMap;

use super::{DataStream, DataStreamSpec, ShardLevelMetric, StreamMode};
use crate::meta::Metadata;
use crate::violation::Violation;

/// Longest Kinesis stream name, in characters.
const STREAM_NAME_CHARS_MAX: usize = 128;
/// Longest object name (a DNS subdomain), in characters.
const OBJECT_NAME_CHARS_MAX: usize = 253;
/// Longest namespace (a DNS label), in characters.
const LABEL_CHARS_MAX: usize = 63;
/// Longest pool name: with the prefix and the suffixes of its pods it must stay a DNS label.
const POOL_CHARS_MAX: usize = 32;
/// Most tags on one stream.
const TAGS_MAX: usize = 50;
/// Longest tag key, in characters.
const TAG_KEY_CHARS_MAX: usize = 128;
/// Longest tag value, in characters.
const TAG_VALUE_CHARS_MAX: usize = 256;
/// Digits of a stream id.
const STREAM_ID_DIGITS: usize = 32;
/// Most shards in one stream.
const SHARD_COUNT_MAX: i32 = 10_000;

impl DataStream {
    /// Checks every rule and reports all that are broken, in the order of the manifest.
    ///
    /// # Errors
    /// The violations, at least one.
    pub fn validate(&self) -> Result<(), Vec<Violation>> {
        let mut broken = Vec::new();
        self.check_type(&mut broken);
        check_metadata(&self.metadata, &mut broken);
        self.check_stream_name(&mut broken);
        check_spec(&self.spec, &mut broken);
        if broken.is_empty() {
            Ok(())
        } else {
            Err(broken)
        }
    }

    /// Checks what may not change between `old` and this version of the same object.
    ///
    /// # Errors
    /// The violations, at least one.
    pub fn validate_update(&self, old: &Self) -> Result<(), Vec<Violation>> {
        let mut broken = Vec::new();
        let (name, old_name) = (self.stream_name(), old.stream_name());
        if name != old_name {
            broken.push(Violation::new(
                "spec.streamName",
                format!("the stream name cannot change from {old_name:?} to {name:?}"),
                "make another DataStream",
            ));
        }
        let (pool, old_pool) = (&self.spec.pool, &old.spec.pool);
        if pool != old_pool {
            broken.push(Violation::new(
                "spec.pool",
                format!("the pool cannot change from {old_pool:?} to {pool:?}"),
                "make another DataStream",
            ));
        }
        self.check_adoption(old, &mut broken);
        if broken.is_empty() {
            Ok(())
        } else {
            Err(broken)
        }
    }

    /// A stream that has its records cannot take over others.
    fn check_adoption(&self, old: &Self, broken: &mut Vec<Violation>) {
        let has = old
            .status
            .as_ref()
            .and_then(|status| status.stream_id.as_deref());
        let (Some(wanted), Some(has)) = (self.spec.adopt_stream_id.as_deref(), has) else {
            return;
        };
        if wanted != has && old.spec.adopt_stream_id.as_deref() != Some(wanted) {
            broken.push(Violation::new(
                "spec.adoptStreamId",
                format!("the object already has the records of stream {has}"),
                "remove adoptStreamId, and make another DataStream for the retained records",
            ));
        }
    }

    fn check_type(&self, broken: &mut Vec<Violation>) {
        if self.api_version != crate::API_VERSION {
            broken.push(Violation::new(
                "apiVersion",
                format!("{:?} is not a version of this API", self.api_version),
                format!("write {}", crate::API_VERSION),
            ));
        }
        if self.kind != Self::KIND {
            broken.push(Violation::new(
                "kind",
                format!("{:?} is not {}", self.kind, Self::KIND),
                format!("write {}", Self::KIND),
            ));
        }
    }

    fn check_stream_name(&self, broken: &mut Vec<Violation>) {
        let fix = "write 1 to 128 characters of [a-zA-Z0-9_.-]";
        match &self.spec.stream_name {
            Some(name) if !is_stream_name(name) => {
                let reason = format!("{name:?} is not a stream name");
                broken.push(Violation::new("spec.streamName", reason, fix));
            },
            None if self.metadata.name.len() > STREAM_NAME_CHARS_MAX => {
                let reason = "metadata.name is too long to stand for it";
                broken.push(Violation::new("spec.streamName", reason, fix));
            },
            Some(_) | None => {},
        }
    }
}

fn check_metadata(metadata: &Metadata, broken: &mut Vec<Violation>) {
    if !is_dns_subdomain(&metadata.name) {
        broken.push(Violation::new(
            "metadata.name",
            format!("{:?} is not the name of an object", metadata.name),
            "write 1 to 253 characters of [a-z0-9.-], each part between dots starting and ending \
             with a letter or digit; a Kinesis name that does not fit goes to spec.streamName",
        ));
    }
    if let Some(namespace) = &metadata.namespace
        && !is_dns_label(namespace, LABEL_CHARS_MAX)
    {
        broken.push(Violation::new(
            "metadata.namespace",
            format!("{namespace:?} is not a namespace"),
            "write 1 to 63 characters of [a-z0-9-], first and last not -",
        ));
    }
}

fn check_spec(spec: &DataStreamSpec, broken: &mut Vec<Violation>) {
    if let Some(count) = spec.shard_count {
        check_range("spec.shardCount", count, 1, SHARD_COUNT_MAX, broken);
        if spec.stream_mode == StreamMode::OnDemand {
            broken.push(Violation::new(
                "spec.shardCount",
                "a stream in mode ON_DEMAND counts its shards itself",
                "remove shardCount, or set streamMode: PROVISIONED",
            ));
        }
    }
    check_range(
        "spec.retentionPeriodHours",
        spec.retention_period_hours,
        24,
        8760,
        broken,
    );
    check_range(
        "spec.maxRecordSizeInKiB",
        spec.max_record_size_in_kib,
        1024,
        10_240,
        broken,
    );
    if let Some(tags) = &spec.tags {
        check_tags(tags, broken);
    }
    if let Some(metrics) = &spec.shard_level_metrics {
        check_metrics(metrics, broken);
    }
    if !is_dns_label(&spec.pool, POOL_CHARS_MAX) {
        broken.push(Violation::new(
            "spec.pool",
            format!("{:?} is not the name of a pool", spec.pool),
            "write 1 to 32 characters of [a-z0-9-], first and last not -",
        ));
    }
    if let Some(id) = &spec.adopt_stream_id
        && !(id.len() == STREAM_ID_DIGITS && id.bytes().all(is_lower_hex))
    {
        broken.push(Violation::new(
            "spec.adoptStreamId",
            format!("{id:?} is not a stream id"),
            "write the 32 lower-case hexadecimal digits of the retained stream",
        ));
    }
}

fn check_range(field: &str, value: i32, min: i32, max: i32, broken: &mut Vec<Violation>) {
    let reason = if value < min {
        format!("{value} is below {min}")
    } else if value > max {
        format!("{value} is above {max}")
    } else {
        return;
    };
    broken.push(Violation::new(
        field,
        reason,
        format!("set a value from {min} to {max}"),
    ));
}

fn check_tags(tags: &BTreeMap<String, String>, broken: &mut Vec<Violation>) {
    if tags.len() > TAGS_MAX {
        broken.push(Violation::new(
            "spec.tags",
            format!("{} tags are more than {TAGS_MAX}", tags.len()),
            format!("keep at most {TAGS_MAX}"),
        ));
    }
    for (key, value) in tags {
        let field = format!("spec.tags[{key:?}]");
        if key.is_empty() || key.chars().count() > TAG_KEY_CHARS_MAX {
            let fix = format!("write a key of 1 to {TAG_KEY_CHARS_MAX} characters");
            broken.push(Violation::new(&field, "the key is empty or too long", fix));
        }
        if key.starts_with("aws:") {
            let fix = "choose another key";
            broken.push(Violation::new(
                &field,
                "keys that start with aws: are reserved",
                fix,
            ));
        }
        if value.chars().count() > TAG_VALUE_CHARS_MAX {
            let fix = format!("write a value of at most {TAG_VALUE_CHARS_MAX} characters");
            broken.push(Violation::new(&field, "the value is too long", fix));
        }
    }
}

fn check_metrics(metrics: &[ShardLevelMetric], broken: &mut Vec<Violation>) {
    let mut sorted = metrics.to_vec();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        broken.push(Violation::new(
            "spec.shardLevelMetrics",
            format!("{} is listed more than once", twice[0].as_str()),
            "list each metric once",
        ));
    }
}

fn is_stream_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=STREAM_NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= OBJECT_NAME_CHARS_MAX
        && text
            .split('.')
            .all(|label| is_dns_label(label, OBJECT_NAME_CHARS_MAX))
}

fn is_dns_label(text: &str, chars_max: usize) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=chars_max).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

const fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'a'..=b'f')
}
