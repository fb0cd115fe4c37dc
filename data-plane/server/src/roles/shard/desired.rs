//! From the streams that the operator wants at home here to calls of the stream layer, and back to
//! what it is told.

use std::collections::{BTreeMap, BTreeSet};

use millstream_control::{
    HomedStream, ObservedStream, ShardDesired, StreamPhase, StreamSpec, Version, Wanted,
};
use millstream_stream::{ShardStore, Spread, Status, Stream, Streams};
use millstream_types::{GroupId, Scope, ShardId, StreamUid};

use crate::local_control::{new_stream, plan};

/// What a stream is served as it is for, and is not there.
const UNSAID: &str = "it is not here, and the operator does not say how it is to be made: its object is paused or \
    refused";

/// A stream that was made is never made again: clients would meet an empty one in silence.
const LOST: &str = "its records are not on the volume of this server any more, which was lost or \
    replaced; bring the volume back, or delete the stream with deletionPolicy Delete and create it anew";
/// The same of shards that other groups had.
const LOST_ELSEWHERE: &str = "are not on the volume any more, which was lost or replaced; the other shards serve on. \
    Bring the volume back, or delete the stream with deletionPolicy Delete and create it anew";
/// Most shards of a group that a message names.
const NAMED_MAX: usize = 3;

/// How far the streams that are wanted are.
#[derive(Debug, Default)]
pub struct Homes {
    group: Option<GroupId>,
    wanted: BTreeMap<StreamUid, HomedStream>,
    /// The specification that each stream follows.
    followed: BTreeMap<StreamUid, Version>,
    /// Why a stream is not what is wanted.
    problems: BTreeMap<StreamUid, String>,
}

impl Homes {
    /// Begins what is to be done; the home does it. What is as wanted costs nothing.
    pub async fn bring_about<S: ShardStore>(&mut self, streams: &Streams<S>, state: &ShardDesired) {
        self.group = Some(state.group.clone());
        let wanted = state.streams.iter();
        self.wanted = wanted.map(|stream| (stream.uid, stream.clone())).collect();
        self.followed.retain(|uid, _| self.wanted.contains_key(uid));
        self.problems.clear();
        streams.forget_swept(|uid| self.wanted.contains_key(&uid));
        let groups: BTreeSet<GroupId> = state.peers.iter().map(|p| p.group.clone()).collect();
        for stream in &state.streams {
            let spread = Spread {
                home: state.group.clone(),
                groups: groups.clone(),
            };
            let begun = match stream.wanted {
                Wanted::Serve => self.serve(streams, stream, spread).await,
                Wanted::Retain => {
                    let retained = streams.retain(stream.uid).await;
                    retained.map_err(|error| error.to_string())
                },
                Wanted::Delete => {
                    let elsewhere = groups.iter().filter(|group| **group != state.group);
                    delete(streams, stream, elsewhere.cloned().collect()).await
                },
            };
            if let Err(problem) = begun {
                tracing::warn!(stream = %stream.name, uid = %stream.uid, problem,
                    "the stream is not what is wanted; it is tried again");
                self.problems.insert(stream.uid, problem);
            }
        }
    }

    async fn serve<S: ShardStore>(
        &mut self,
        streams: &Streams<S>,
        wanted: &HomedStream,
        spread: Spread,
    ) -> Result<(), String> {
        let existing = streams.by_uid(wanted.uid);
        match existing {
            None if wanted.made => return Err(LOST.to_owned()),
            None => {
                let spec = wanted.spec.clone().ok_or(UNSAID)?;
                let new = new_stream(spec);
                let begun = streams
                    .begin_create(wanted.uid, &wanted.scope, new, spread)
                    .await;
                begun.map_err(|error| error.to_string())?;
            },
            Some(stream) if *stream.scope() != wanted.scope => {
                // It follows nothing that is said of a stream of another account.
                self.followed.remove(&wanted.uid);
                return Err(another_account(stream.scope(), &wanted.scope));
            },
            Some(stream) if stream.status() == Status::Deleting => {
                return Err("it is being removed already".to_owned());
            },
            Some(stream) => {
                if stream.status() == Status::Retained {
                    check_retention(&stream, wanted.spec.as_ref())?;
                    let served = streams.serve_again(wanted.uid).await;
                    served.map_err(|error| error.to_string())?;
                }
                if let Some(spec) = &wanted.spec {
                    update(streams, &stream, spec).await?;
                }
            },
        }
        // Left as it is, it follows what it followed before.
        if wanted.spec.is_some() {
            self.followed.insert(wanted.uid, wanted.version);
        }
        Ok(())
    }

    /// Every stream of the rows, and every one that is wanted gone.
    pub fn observed<S: ShardStore>(&self, streams: &Streams<S>) -> Vec<ObservedStream> {
        let there = streams.everything();
        let mut observed: Vec<ObservedStream> = there
            .iter()
            .map(|s| self.observe(s, &streams.lost(s.uid())))
            .collect();
        for wanted in self.wanted.values() {
            let absent = there.iter().all(|stream| stream.uid() != wanted.uid);
            let problem = self.problems.get(&wanted.uid);
            let phase = match wanted.wanted {
                _ if !absent => continue,
                Wanted::Delete if wanted.made && !streams.is_swept(wanted.uid) => {
                    StreamPhase::Deleting
                },
                Wanted::Delete => StreamPhase::Gone,
                Wanted::Serve if wanted.made => StreamPhase::Lost,
                // Not made, and this is why.
                Wanted::Serve | Wanted::Retain if problem.is_some() => StreamPhase::Creating,
                Wanted::Serve | Wanted::Retain => continue,
            };
            observed.push(ObservedStream {
                uid: wanted.uid,
                scope: wanted.scope.clone(),
                name: wanted.name.clone(),
                phase,
                version: wanted.version,
                shard_count: 0,
                groups: Vec::new(),
                message: problem.cloned(),
            });
        }
        observed
    }

    fn observe(&self, stream: &Stream, lost: &Lost) -> ObservedStream {
        let groups: BTreeSet<GroupId> = stream
            .map()
            .shards()
            .iter()
            .filter_map(|shard| shard.group.clone().or_else(|| self.group.clone()))
            .collect();
        ObservedStream {
            uid: stream.uid(),
            scope: stream.scope().clone(),
            name: stream.name().clone(),
            phase: match stream.status() {
                Status::Creating => StreamPhase::Creating,
                Status::Active if !lost.is_empty() => StreamPhase::Damaged,
                Status::Active => StreamPhase::Active,
                Status::Deleting => StreamPhase::Deleting,
                Status::Retained => StreamPhase::Retained,
            },
            version: self
                .followed
                .get(&stream.uid())
                .copied()
                .unwrap_or_default(),
            shard_count: u32::try_from(stream.open_shard_count()).unwrap_or(u32::MAX),
            groups: groups.into_iter().collect(),
            message: match self.problems.get(&stream.uid()) {
                Some(problem) => Some(problem.clone()),
                None if lost.is_empty() => None,
                None => Some(lost_elsewhere(lost)),
            },
        }
    }
}

async fn delete<S: ShardStore>(
    streams: &Streams<S>,
    wanted: &HomedStream,
    elsewhere: BTreeSet<GroupId>,
) -> Result<(), String> {
    match streams.by_uid(wanted.uid) {
        // Removed, or lost: what it had elsewhere goes too, before it is called gone.
        None if wanted.made => {
            streams.begin_sweep(wanted.uid, elsewhere);
            Ok(())
        },
        Some(stream) if *stream.scope() != wanted.scope => {
            Err(another_account(stream.scope(), &wanted.scope))
        },
        None | Some(_) => {
            let deleted = streams.begin_delete(wanted.uid).await;
            deleted.map_err(|error| error.to_string())
        },
    }
}

/// What a manifest that takes over retained records says first must not be what removes them: it may
/// not even name a retention, and mean none by that.
fn check_retention(stream: &Stream, spec: Option<&StreamSpec>) -> Result<(), String> {
    let keeps = stream.settings().retention_hours;
    match spec {
        Some(spec) if spec.retention_hours < keeps => Err(format!(
            "its records are kept for {keeps} hours and would be for {}: what is older would be \
             removed at once; set spec.retentionPeriodHours to {keeps} or more, and lower it once \
             the stream serves",
            spec.retention_hours
        )),
        Some(_) | None => Ok(()),
    }
}

fn another_account(has: &Scope, wanted: &Scope) -> String {
    format!(
        "its records are of the account {} in {}, and its namespace has the account {} in {} now; \
         set the namespace's former number again",
        has.account, has.region, wanted.account, wanted.region
    )
}

/// Shards that are lost, by the group that had them.
type Lost = BTreeMap<GroupId, Vec<ShardId>>;

fn lost_elsewhere(lost: &Lost) -> String {
    let mut groups = Vec::new();
    for (group, shards) in lost {
        let mut named: Vec<String> = shards
            .iter()
            .take(NAMED_MAX)
            .map(ShardId::to_string)
            .collect();
        if shards.len() > NAMED_MAX {
            named.push(format!("{} more", shards.len() - NAMED_MAX));
        }
        groups.push(format!("{} in group {group}", named.join(", ")));
    }
    format!("the records of {} {LOST_ELSEWHERE}", groups.join("; "))
}

/// Changes the settings that differ. The shard count is reported, and changed in another way.
async fn update<S: ShardStore>(
    streams: &Streams<S>,
    stream: &Stream,
    spec: &StreamSpec,
) -> Result<(), String> {
    let Some(change) = plan::change(spec, stream) else {
        return Ok(());
    };
    let changed = streams.update(stream.scope(), stream.name(), change).await;
    changed.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
