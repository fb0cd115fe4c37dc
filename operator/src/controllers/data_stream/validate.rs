//! From an object and its surroundings to a stream that can be built, or the reason why not.
//!
//! Pure. Past this step nothing sees the raw object: [`ValidatedDataStream`] says all there is.

use std::collections::BTreeMap;

use millstream_control::StreamSpec;
use millstream_crds::data_stream::{DataStreamResource, DeletionPolicy, StreamMode};
use millstream_crds::{DataStream, DataStreamSpec, annotations};
use millstream_types::{Region, Scope, ShardMetrics, StreamName, StreamUid};
use sha2::{Digest as _, Sha256};

use super::claims::{Claim, Claims, shards_made, was_made};
use super::status::Reason;
use crate::accounts::Account;
use crate::config::PoolClass;
use crate::names::PoolKey;
use crate::pools::size;

/// What a stream's object is judged by: itself and what was looked up around it.
#[derive(Clone, Debug)]
pub struct Dereferenced<'a> {
    /// The object.
    pub object: &'a DataStreamResource,
    /// The account of its namespace; none while the namespace was not seen.
    pub account: Option<&'a Account>,
    /// The region of every stream.
    pub region: Region,
    /// What the objects of the namespace claim, this one's too if it is there already. All that
    /// are older were settled.
    pub claims: &'a Claims,
    /// The streams that the namespace's pools hold.
    pub homes: &'a BTreeMap<StreamUid, HomeView>,
    /// The pool classes.
    pub classes: &'a BTreeMap<String, PoolClass>,
    /// Open shards of the stream, as its home server says.
    pub open_shards: Option<u32>,
    /// Whether its stream has a home in another namespace, and none in this one.
    pub is_elsewhere: bool,
    /// Why the placement of its pool cannot be used, if it cannot.
    pub placement_problem: Option<&'a str>,
}

/// A stream that a pool holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeView {
    /// The pool.
    pub pool: String,
    /// The stream's name.
    pub name: StreamName,
    /// Its account and region.
    pub scope: Scope,
    /// Its home has it, or had it: before that there are no records that could be retained.
    pub made: bool,
}

/// A stream that can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedDataStream {
    /// The stream's id.
    pub uid: StreamUid,
    /// Account and region.
    pub scope: Scope,
    /// What is wanted of it.
    pub spec: StreamSpec,
    /// Where it goes.
    pub pool: PoolKey,
    /// The object's generation.
    pub generation: i64,
}

/// Why a stream cannot be built. Nothing goes on until somebody changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable word.
    pub reason: Reason,
    /// The object, and the fix.
    pub message: String,
}

impl Refusal {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// The name that clients use.
#[must_use]
pub fn stream_name(object: &DataStreamResource) -> &str {
    let own = object.metadata.name.as_deref();
    object
        .spec
        .stream_name
        .as_deref()
        .or(own)
        .unwrap_or_default()
}

/// The id of the object's stream: what it has already, what it adopts, or else the object's own
/// UID, so that no write is needed to remember it and a restored object never meets old records by
/// accident. One that gives up the stream that it has gets a new id, always the same: no id is used
/// twice, and the annotation says nothing of the new stream.
#[must_use]
pub fn stream_uid(object: &DataStreamResource) -> Option<StreamUid> {
    if let Some(given_up) = given_up(object) {
        return Some(successor(given_up));
    }
    let seen = object
        .status
        .as_ref()
        .and_then(|status| status.stream_id.as_deref());
    let adopted = object.spec.adopt_stream_id.as_deref();
    if let Some(uid) = seen.or(adopted).and_then(|text| text.parse().ok()) {
        return Some(uid);
    }
    let digits = object.metadata.uid.as_deref()?.replace('-', "");
    digits.parse().ok()
}

/// The stream that the object has by its status, and that its annotation gives up.
#[must_use]
pub fn given_up(object: &DataStreamResource) -> Option<StreamUid> {
    let seen = object.status.as_ref()?.stream_id.as_deref()?;
    let seen = seen.parse().ok()?;
    gives_up(object, seen).then_some(seen)
}

/// Whether the object starts empty although there are records of this stream, or may be.
fn gives_up(object: &DataStreamResource, stream: StreamUid) -> bool {
    let all = object.metadata.annotations.as_ref();
    let ids = all.and_then(|all| all.get(annotations::START_EMPTY));
    let is_it = |id: &str| id.trim().parse().is_ok_and(|id: StreamUid| id == stream);
    ids.is_some_and(|ids| ids.split(',').any(is_it))
}

/// The id of the stream that begins where this one was given up.
fn successor(stream: StreamUid) -> StreamUid {
    let mut digest = Sha256::new_with_prefix(b"millstream start-empty ");
    digest.update(stream.0.to_be_bytes());
    let digest = digest.finalize();
    let bytes = digest.iter().take(size_of::<u128>());
    StreamUid(bytes.fold(0, |id, byte| (id << 8) | u128::from(*byte)))
}

/// Whether the records go with the object.
#[must_use]
pub fn deletes_records(object: &DataStreamResource) -> bool {
    object.spec.deletion_policy == Some(DeletionPolicy::Delete)
}

/// The stream that `input` asks for.
///
/// # Errors
/// The first reason why it cannot be built.
pub fn validate(input: &Dereferenced<'_>) -> Result<ValidatedDataStream, Refusal> {
    let object = input.object;
    check_rules(object)?;
    let name = parse_name(object)?;
    let scope = scope(input)?;
    let own = Claim::of(object);
    let Some(uid) = own.stream else {
        return Err(Refusal::new(Reason::SpecInvalid, "the object has no UID"));
    };
    check_siblings(input, &own)?;
    check_placement(input, &own)?;
    check_pool(input, &own)?;
    check_orphans(input, &name, uid)?;
    check_account(input, &scope, uid)?;
    let spec = stream_spec(&object.spec, name)?;
    check_served(&spec, open_shards(input))?;
    Ok(ValidatedDataStream {
        uid,
        scope,
        spec,
        pool: PoolKey::new(
            object.metadata.namespace.clone().unwrap_or_default(),
            own.pool,
        ),
        generation: object.metadata.generation.unwrap_or_default(),
    })
}

/// The rules of the schema, for objects that are older than the rules.
fn check_rules(object: &DataStreamResource) -> Result<(), Refusal> {
    let mut plain = DataStream::new(
        object.metadata.name.clone().unwrap_or_default(),
        object.spec.clone(),
    );
    plain
        .metadata
        .namespace
        .clone_from(&object.metadata.namespace);
    let Err(violations) = plain.validate() else {
        return Ok(());
    };
    let texts: Vec<String> = violations.iter().map(ToString::to_string).collect();
    Err(Refusal::new(Reason::SpecInvalid, texts.join("; ")))
}

fn parse_name(object: &DataStreamResource) -> Result<StreamName, Refusal> {
    let parsed = stream_name(object).parse();
    parsed.map_err(|error| Refusal::new(Reason::SpecInvalid, format!("spec.streamName: {error}")))
}

fn scope(input: &Dereferenced<'_>) -> Result<Scope, Refusal> {
    let namespace = input
        .object
        .metadata
        .namespace
        .as_deref()
        .unwrap_or_default();
    match input.account {
        Some(Account::Own(account)) => Ok(Scope {
            account: account.clone(),
            region: input.region.clone(),
        }),
        Some(Account::Taken { account, by }) => Err(Refusal::new(
            Reason::AccountTaken,
            format!(
                "the older namespace {by} has the account {account} of namespace {namespace}; set \
                 another account for {namespace} in the chart's values"
            ),
        )),
        None => Err(Refusal::new(
            Reason::AccountTaken,
            format!("the namespace {namespace} was not seen yet"),
        )),
    }
}

fn check_siblings(input: &Dereferenced<'_>, own: &Claim) -> Result<(), Refusal> {
    if let Some(other) = input.claims.older_of_name(own) {
        let message = format!(
            "the older DataStream {} has the stream name {}; delete one of them",
            other.object_name, own.stream_name
        );
        return Err(Refusal::new(Reason::StreamNameTaken, message));
    }
    if let Some(other) = input.claims.older_of_stream(own) {
        let message = format!(
            "the older DataStream {} has the records; remove spec.adoptStreamId",
            other.object_name
        );
        return Err(Refusal::new(Reason::OrphanUnknown, message));
    }
    Ok(())
}

/// Without its placement nobody knows which streams a pool has, and where.
fn check_placement(input: &Dereferenced<'_>, own: &Claim) -> Result<(), Refusal> {
    let Some(problem) = input.placement_problem else {
        return Ok(());
    };
    let namespace = input.object.metadata.namespace.clone();
    let map = PoolKey::new(namespace.unwrap_or_default(), own.pool.clone()).placement_name();
    let message = format!("ConfigMap {map}: {problem}; restore it from a backup");
    Err(Refusal::new(Reason::PlacementUnreadable, message))
}

fn check_pool(input: &Dereferenced<'_>, own: &Claim) -> Result<(), Refusal> {
    let Some(class) = input.classes.get(&own.pool) else {
        let known: Vec<&str> = input.classes.keys().map(String::as_str).collect();
        let message = format!(
            "spec.pool: there is no pool class {}; there are {}",
            own.pool,
            known.join(", ")
        );
        return Err(Refusal::new(Reason::PoolUnknown, message));
    };
    let taken = input.claims.shards_before(own);
    let max = size::shards_max(class);
    if taken + own.shards > max {
        let message = format!(
            "the pool {} holds at most {max} shards in this namespace, {taken} are taken and {} \
             are asked for; lower spec.shardCount or raise pods.max of the pool class",
            own.pool, own.shards
        );
        return Err(Refusal::new(Reason::PoolFull, message));
    }
    Ok(())
}

/// Retained records of this name must be adopted or given up by word, never passed over.
fn check_orphans(
    input: &Dereferenced<'_>,
    name: &StreamName,
    uid: StreamUid,
) -> Result<(), Refusal> {
    let object = input.object;
    if let Some(home) = input.homes.get(&uid) {
        if home.pool == object.spec.pool && home.name == *name {
            return Ok(());
        }
        let message = format!(
            "the records of stream {uid} are of the stream {} in the pool {}; set spec.streamName \
             and spec.pool to these",
            home.name, home.pool
        );
        return Err(Refusal::new(Reason::OrphanUnknown, message));
    }
    if input.is_elsewhere {
        let message = format!(
            "the stream {uid} is in another namespace; set the annotation {}: \"{uid}\" to start \
             with an empty one here",
            annotations::START_EMPTY
        );
        return Err(Refusal::new(Reason::OrphanUnknown, message));
    }
    if was_made(object) {
        let message = format!(
            "the stream {uid} was made, and no placement or server says where its records are; \
             bring its pod or the pool's placement back, or set the annotation {}: \"{uid}\" to \
             give them up and start empty",
            annotations::START_EMPTY
        );
        return Err(Refusal::new(Reason::PlacementLost, message));
    }
    let seen = object
        .status
        .as_ref()
        .and_then(|status| status.stream_id.as_deref());
    if seen.is_none()
        && let Some(id) = &object.spec.adopt_stream_id
    {
        let message = format!("spec.adoptStreamId: no records of a stream {id} are retained here");
        return Err(Refusal::new(Reason::OrphanUnknown, message));
    }
    let mut orphans = input.claims.orphans(name).iter();
    match orphans.find(|orphan| !gives_up(object, **orphan)) {
        Some(orphan) => Err(Refusal::new(
            Reason::OrphanExists,
            format!(
                "records of an earlier stream {name} are retained; set spec.adoptStreamId: \
                 \"{orphan}\" to take them over, or add \"{orphan}\" to the annotation {} to \
                 start empty",
                annotations::START_EMPTY
            ),
        )),
        None => Ok(()),
    }
}

/// Records never change their account: it is a part of the ARN by which clients know them.
fn check_account(input: &Dereferenced<'_>, scope: &Scope, uid: StreamUid) -> Result<(), Refusal> {
    match input.homes.get(&uid) {
        Some(home) if home.scope != *scope => Err(Refusal::new(
            Reason::AccountChanged,
            format!(
                "the stream is of the account {} in {}, and the namespace has the account {} in {} \
                 now; set the former number again in the chart's values",
                home.scope.account, home.scope.region, scope.account, scope.region
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

fn stream_spec(spec: &DataStreamSpec, name: StreamName) -> Result<StreamSpec, Refusal> {
    let number = |value: i32| u32::try_from(value).expect("validate() has checked the range");
    let mut wanted = StreamSpec::new(name);
    wanted.mode = match spec.stream_mode {
        StreamMode::Provisioned => millstream_types::StreamMode::Provisioned,
        StreamMode::OnDemand => millstream_types::StreamMode::OnDemand,
    };
    wanted.shard_count = spec.shard_count.map(|count| u64::from(number(count)));
    wanted.retention_hours = number(spec.retention_period_hours);
    wanted.max_record_kib = number(spec.max_record_size_in_kib);
    wanted.tags.clone_from(&spec.tags);
    if let Some(metrics) = &spec.shard_level_metrics {
        let set = ShardMetrics::parse(metrics.iter().map(|metric| metric.as_str()));
        let set = set.map_err(|error| {
            Refusal::new(
                Reason::SpecInvalid,
                format!("spec.shardLevelMetrics: {error}"),
            )
        })?;
        wanted.shard_level_metrics = Some(set);
    }
    Ok(wanted)
}

/// Open shards as the home says, or as it once said: a new leader has not heard from it yet.
fn open_shards(input: &Dereferenced<'_>) -> Option<u32> {
    input.open_shards.or_else(|| shards_made(input.object))
}

/// What this version can do.
fn check_served(spec: &StreamSpec, open_shards: Option<u32>) -> Result<(), Refusal> {
    if spec.mode == millstream_types::StreamMode::OnDemand {
        let message = "spec.streamMode: ON_DEMAND is not served by this version; use PROVISIONED";
        return Err(Refusal::new(Reason::NotServed, message));
    }
    if let (Some(wanted), Some(open)) = (spec.shard_count, open_shards)
        && wanted != u64::from(open)
    {
        let message = format!(
            "spec.shardCount: is {wanted}, but the stream has {open} shards and this version \
             cannot change that; set it to {open} or remove it"
        );
        return Err(Refusal::new(Reason::NotServed, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
