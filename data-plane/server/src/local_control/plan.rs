//! From what manifests ask for and what exists to what is to be done. Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_control::StreamSpec;
use millstream_stream::{NewStream, SettingsChange, Stream};
use millstream_types::{StreamMode, StreamName};

use super::manifests::Manifest;
use super::new_stream;

/// Why a stream that follows its load is refused, wherever it is asked for.
pub const ON_DEMAND_REFUSED: &str =
    "streamMode ON_DEMAND is not served by this version; use PROVISIONED with a shardCount";

/// One stream's part of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the stream.
    Create(NewStream),
    /// Change its settings.
    Update(StreamName, SettingsChange),
    /// It is as wanted.
    Keep,
}

/// Why a manifest cannot be followed. The text names its place, the field and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Two manifests have one stream name.
    #[error("{second}: {first} has the stream name {name} too; remove one of them")]
    NameTwice {
        /// The name.
        name: StreamName,
        /// The first manifest.
        first: String,
        /// The second one.
        second: String,
    },
    /// A field asks for what this version does not do.
    #[error("{source_text}: {field}: {reason}")]
    NotServed {
        /// The manifest.
        source_text: String,
        /// The field.
        field: &'static str,
        /// Why, and the fix.
        reason: String,
    },
    /// The new streams would have too many shards.
    #[error(
        "the manifests' new streams have {asked} shards, the account has {free} left; lower \
         spec.shardCount or delete streams"
    )]
    Quota {
        /// Shards of the streams to create.
        asked: u64,
        /// Shards that the account may still have.
        free: u64,
    },
}

/// What to do for each manifest, in their order. `free` is how many shards the account may still
/// have.
///
/// # Errors
/// When one of them cannot be followed; none should be then.
pub fn plan(
    manifests: &[Manifest],
    exists: impl Fn(&StreamName) -> Option<Arc<Stream>>,
    free: u64,
) -> Result<Vec<Step>, PlanError> {
    let mut seen: BTreeMap<&StreamName, &Manifest> = BTreeMap::new();
    let mut steps = Vec::with_capacity(manifests.len());
    let mut asked = 0;
    for manifest in manifests {
        if let Some(first) = seen.insert(&manifest.spec.name, manifest) {
            return Err(PlanError::NameTwice {
                name: manifest.spec.name.clone(),
                first: first.source.clone(),
                second: manifest.source.clone(),
            });
        }
        let step = step(manifest, exists(&manifest.spec.name).as_deref())?;
        if let Step::Create(new) = &step {
            asked += new.shard_count;
        }
        steps.push(step);
    }
    if asked > free {
        return Err(PlanError::Quota { asked, free });
    }
    Ok(steps)
}

fn step(manifest: &Manifest, existing: Option<&Stream>) -> Result<Step, PlanError> {
    let spec = &manifest.spec;
    let refuse = |field, reason: String| {
        Err(PlanError::NotServed {
            source_text: manifest.source.clone(),
            field,
            reason,
        })
    };
    if spec.mode == StreamMode::OnDemand {
        return refuse("spec.streamMode", ON_DEMAND_REFUSED.to_owned());
    }
    if let Some(id) = &manifest.adopt
        && existing.is_none_or(|stream| stream.uid().to_string() != *id)
    {
        let reason = format!("there is no stream {id} to take over; remove the field");
        return refuse("spec.adoptStreamId", reason);
    }
    let Some(stream) = existing else {
        return Ok(Step::Create(new_stream(spec.clone())));
    };
    let open = stream.open_shard_count() as u64;
    if let Some(count) = spec.shard_count.filter(|count| *count != open) {
        let reason = format!(
            "is {count}, but the stream {} has {open} shards and this version cannot change that; \
             set it to {open} or remove it",
            spec.name
        );
        return refuse("spec.shardCount", reason);
    }
    Ok(match change(spec, stream) {
        Some(change) => Step::Update(spec.name.clone(), change),
        None => Step::Keep,
    })
}

/// The settings that differ, if any.
pub(crate) fn change(spec: &StreamSpec, stream: &Stream) -> Option<SettingsChange> {
    let has = stream.settings();
    let change = SettingsChange {
        retention_hours: Some(spec.retention_hours).filter(|x| *x != has.retention_hours),
        max_record_kib: Some(spec.max_record_kib).filter(|x| *x != has.max_record_kib),
        tags: spec.tags.clone().filter(|x| *x != has.tags),
        shard_level_metrics: spec
            .shard_level_metrics
            .filter(|x| *x != has.shard_level_metrics),
    };
    (change != SettingsChange::default()).then_some(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str, change: impl FnOnce(&mut StreamSpec)) -> Manifest {
        let mut spec = StreamSpec::new(text.parse().expect("a name"));
        change(&mut spec);
        Manifest {
            source: format!("{text}.yaml"),
            spec,
            adopt: None,
        }
    }

    fn refusal(manifests: &[Manifest], free: u64) -> String {
        plan(manifests, |_| None, free)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn what_is_absent_is_created_with_one_shard_unless_it_says_more() {
        let manifests = [
            manifest("a", |_| {}),
            manifest("b", |spec| spec.shard_count = Some(3)),
        ];
        let steps = plan(&manifests, |_| None, 4).expect("a plan");
        let counts: Vec<u64> = steps
            .iter()
            .map(|step| match step {
                Step::Create(new) => new.shard_count,
                Step::Update(..) | Step::Keep => 0,
            })
            .collect();
        assert_eq!(counts, [1, 3]);
    }

    #[test]
    fn on_demand_a_name_twice_a_stranger_to_adopt_and_too_many_shards_are_refused() {
        let on_demand = manifest("a", |spec| spec.mode = StreamMode::OnDemand);
        assert_eq!(
            refusal(&[on_demand], 10),
            format!("a.yaml: spec.streamMode: {ON_DEMAND_REFUSED}")
        );
        let twice = [manifest("a", |_| {}), manifest("a", |_| {})];
        assert_eq!(
            refusal(&twice, 10),
            "a.yaml: a.yaml has the stream name a too; remove one of them"
        );
        let mut adopting = manifest("a", |_| {});
        adopting.adopt = Some("0".repeat(32));
        assert!(refusal(&[adopting], 10).starts_with("a.yaml: spec.adoptStreamId: there is no"));
        let many = [
            manifest("a", |spec| spec.shard_count = Some(6)),
            manifest("b", |spec| spec.shard_count = Some(5)),
        ];
        assert!(refusal(&many, 10).starts_with("the manifests' new streams have 11 shards"));
    }
}
