//! Where a stream's home is: learned from whoever has it, else the group with the fewest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millstream_types::StreamUid;

use crate::coordinator::pool::Pool;
use crate::coordinator::{COUNTER_AHEAD_MAX, Coordinator, Effect, wanted_in};
use crate::desired::{DesiredState, HomedStream, Wanted};
use crate::observed::{ObservedState, ObservedStream, StreamPhase};
use crate::placement::{HOMES_MAX, Home, Placement, PoolId};
use crate::version::PlacementVersion;

impl Coordinator {
    /// Takes a report. One of an earlier life of a group counts for nothing; nor does one that goes by
    /// what this leader cannot have given, and that ends the session.
    pub(super) fn take_observed(
        &mut self,
        session: u64,
        state: Arc<ObservedState>,
        now: Duration,
    ) -> Option<Effect> {
        if !self.servers.is_in(session, &state.server) || self.servers.is_outlived(&state) {
            return None;
        }
        if let Some(seen) = state.desired.filter(|seen| !self.can_have_given(*seen)) {
            self.servers.detached(&state.server, session, now);
            return Some(Effect::EndSession {
                server: state.server.clone(),
                session,
                seen,
            });
        }
        self.servers.observed(&state, now);
        if let Some(goes_by) = state.desired
            && goes_by.term == self.term
            && self.servers.is_ahead(&state.server, goes_by)
        {
            // a former leader of this term has told it more: number from there
            self.counter = self.counter.max(goes_by.counter);
            self.servers.say_again(&state.server);
        }
        self.learn(&state);
        self.forget_never_made(&state);
        None
    }

    /// Whether a server can go by this version while this leader leads.
    const fn can_have_given(&self, seen: PlacementVersion) -> bool {
        let most = self.counter.saturating_add(COUNTER_AHEAD_MAX);
        seen.term < self.term || (seen.term == self.term && seen.counter <= most)
    }

    /// Forgets the homes of streams that nobody wants any more, that were never made, and that their
    /// server does not have although it goes by what it was told: else each would be taken for a
    /// retained stream for ever.
    fn forget_never_made(&mut self, state: &ObservedState) {
        let told = self.servers.get(&state.server);
        let told = told.and_then(|server| server.told.clone());
        let Some(DesiredState::Shard(told)) = told.as_deref() else {
            return;
        };
        if state.desired != Some(told.version) {
            return;
        }
        let namespace = told.group.namespace();
        let unwanted = |stream: &&HomedStream| {
            stream.wanted == Wanted::Retain
                && wanted_in(&self.streams, namespace, stream.uid).is_none()
        };
        let reports = self.servers.get(&state.server);
        let is_made = |stream: &HomedStream| {
            stream.made || reports.is_some_and(|server| server.stream(stream.uid).is_some())
        };
        let unwanted = told.streams.iter().filter(unwanted);
        let never: Vec<StreamUid> = unwanted.filter(|s| !is_made(s)).map(|s| s.uid).collect();
        let Some((pool_id, _)) = self.seat_of(state).filter(|_| !never.is_empty()) else {
            return;
        };
        if let Some(pool) = self.pools.get_mut(&pool_id) {
            for uid in never {
                if pool.remove_home(uid) {
                    self.whereabouts.remove(uid, &pool_id);
                }
            }
        }
    }

    /// Notes the homes that a server reports, and the streams of which nothing is left.
    fn learn(&mut self, state: &ObservedState) {
        let Some((pool_id, ordinal)) = self.seat_of(state) else {
            return;
        };
        let reported = state.streams.iter().map(|stream| stream.uid);
        let strangers = reported.filter(|uid| self.is_of_another(&pool_id, *uid));
        let strangers: BTreeSet<StreamUid> = strangers.collect();
        let Some(pool) = self.pools.get_mut(&pool_id) else {
            return;
        };
        for stream in &state.streams {
            let wanted = wanted_in(&self.streams, pool_id.namespace(), stream.uid);
            let delete = wanted.is_some_and(|s| s.delete);
            let is_leaving =
                stream.phase == StreamPhase::Deleting && wanted.is_none_or(|s| s.delete);
            let home = pool.draft().homes.get(&stream.uid);
            match (stream.phase, home) {
                (StreamPhase::Gone, Some(home)) if delete && home.group == ordinal => {
                    if pool.remove_home(stream.uid) {
                        self.whereabouts.remove(stream.uid, &pool_id);
                    }
                    self.place_again = true;
                },
                (
                    StreamPhase::Active | StreamPhase::Damaged | StreamPhase::Retained,
                    Some(home),
                ) if home.group == ordinal && !home.made => {
                    pool.note_made(stream.uid);
                },
                (StreamPhase::Gone | StreamPhase::Lost | StreamPhase::Unknown, _)
                | (_, Some(_)) => {},
                // A server that goes by an earlier state removes it once more: the home that was
                // forgotten with it must not come back, for nobody would forget it again.
                (_, None) if is_leaving || strangers.contains(&stream.uid) => {},
                (_, None) => {
                    if pool.add_home(stream.uid, home_of(stream, ordinal)) {
                        self.whereabouts.add(stream.uid, &pool_id);
                    }
                },
            }
        }
    }

    /// Whether the stream is of another namespace than the pool, and has no home in the pool. What
    /// its servers say of it is no reason to give it one.
    fn is_of_another(&self, pool: &PoolId, stream: StreamUid) -> bool {
        let namespace = pool.namespace();
        let here = self.pools.get(pool);
        if here.is_some_and(|pool| pool.draft().homes.contains_key(&stream)) {
            return false;
        }
        let wanted = self.streams.get(&stream);
        wanted.is_some_and(|wanted| wanted.pool.namespace() != namespace)
            || self.whereabouts.is_elsewhere(stream, namespace)
    }

    /// The pool and ordinal of a shard server that holds the group that it should.
    fn seat_of(&self, state: &ObservedState) -> Option<(PoolId, u32)> {
        let group = state.group.as_ref()?;
        let id = PoolId::of(group);
        let ordinal = self.pools.get(&id)?.draft().ordinal_of(&state.server)?;
        (ordinal == group.ordinal()).then_some((id, ordinal))
    }

    /// Gives a home to each stream that has none, once the leader knows what there is.
    pub(super) fn place(&mut self) {
        if !self.settled || !std::mem::take(&mut self.place_again) {
            return;
        }
        for stream in self.streams.values().filter(|stream| !stream.delete) {
            let has_it = |pool: &Pool| pool.draft().homes.contains_key(&stream.uid);
            if self.pools_of(stream.uid).any(has_it) {
                continue;
            }
            // One that is only left as it is has a home already, or is nowhere.
            let Some(spec) = &stream.spec else {
                continue;
            };
            let Some(pool) = self.pools.get_mut(&stream.pool) else {
                continue;
            };
            if let Some(group) = emptiest(pool.draft()) {
                let home = Home {
                    group,
                    scope: stream.scope.clone(),
                    name: spec.name.clone(),
                    made: false,
                };
                if pool.add_home(stream.uid, home) {
                    self.whereabouts.add(stream.uid, &stream.pool);
                }
            }
        }
    }

    /// Whether any server of the namespace that wants the stream reports something of it.
    pub(super) fn is_reported(&self, stream: StreamUid) -> bool {
        let is_left = |s: &ObservedStream| s.phase != StreamPhase::Gone;
        let wanted = self.streams.get(&stream);
        let mut servers = self.servers.iter();
        servers.any(|(id, server)| {
            wanted.is_none_or(|wanted| wanted.pool.namespace() == id.namespace())
                && server.stream(stream).is_some_and(is_left)
        })
    }
}

fn home_of(stream: &ObservedStream, group: u32) -> Home {
    Home {
        group,
        scope: stream.scope.clone(),
        name: stream.name.clone(),
        made: stream.phase != StreamPhase::Creating,
    }
}

/// The group with the fewest homes; of several, the lowest. None in a pool that is full.
fn emptiest(placement: &Placement) -> Option<u32> {
    if placement.homes.len() >= HOMES_MAX {
        return None;
    }
    let mut homes: BTreeMap<u32, usize> = placement.groups.keys().map(|g| (*g, 0)).collect();
    for home in placement.homes.values() {
        *homes.entry(home.group).or_default() += 1;
    }
    let fewest = homes
        .into_iter()
        .min_by_key(|(group, count)| (*count, *group));
    fewest.map(|(group, _)| group)
}
