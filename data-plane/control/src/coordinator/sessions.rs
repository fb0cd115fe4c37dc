//! The servers that are attached, what they report, and what they were told.
//!
//! Of a home the streams are kept by id, each with the point of its catalogue from which on a
//! gateway knows the stream as it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_link::{Identity, Role};

use millstream_types::{Epoch, GroupId, StreamUid};

use crate::desired::DesiredState;
use crate::observed::{CataloguePoint, ObservedState, ObservedStream};
use crate::version::PlacementVersion;

/// One server, attached or not.
#[derive(Debug)]
pub(super) struct Server {
    /// The session in which it is attached.
    pub(super) session: Option<u64>,
    /// The last report of any session.
    pub(super) observed: Option<Arc<ObservedState>>,
    /// The latest life of its group that has reported.
    life: Epoch,
    /// The streams of that report.
    streams: BTreeMap<StreamUid, Row>,
    /// Whether it has reported in this session: before that it is told nothing.
    pub(super) reported: bool,
    /// What it was told last, in any session.
    pub(super) told: Option<Arc<DesiredState>>,
    /// Whether what it was told has to be made again, and compared.
    pub(super) look_again: bool,
    /// Whether it has to be told even what it was told before.
    pub(super) say_again: bool,
    /// Since when it does not do its work.
    pub(super) away_since: Option<Duration>,
}

/// A stream in a home's last report.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// Its place in the report.
    place: usize,
    /// Whoever has taken the home's catalogue over up to here knows the stream as it is. None where
    /// the home does not say how far its catalogue is.
    since: Option<CataloguePoint>,
}

impl Server {
    /// A stream in its last report.
    pub(super) fn stream(&self, uid: StreamUid) -> Option<&ObservedStream> {
        let row = self.streams.get(&uid)?;
        self.observed.as_ref()?.streams.get(row.place)
    }

    /// From where on in this home's catalogue the stream is as it is.
    pub(super) fn stream_since(&self, uid: StreamUid) -> Option<CataloguePoint> {
        self.streams.get(&uid)?.since
    }

    /// Whether this is a gateway at work that has not followed the group's catalogue up to `point`.
    pub(super) fn is_behind(&self, group: &GroupId, point: CataloguePoint) -> bool {
        let catalogues = self.observed.as_ref().and_then(|s| s.catalogues.as_ref());
        // One that says nothing of catalogues is of an earlier release: it cannot be waited for.
        let is_behind = catalogues.is_some_and(|all| all.get(group).is_none_or(|at| *at < point));
        self.is_up() && is_behind
    }

    /// Takes a report over. A stream that gateways see as before keeps its point.
    fn take(&mut self, state: &Arc<ObservedState>) {
        let rows = state.streams.iter().enumerate().map(|(place, stream)| {
            let same = self.stream(stream.uid).is_some_and(|b| looks_as(b, stream));
            let since = match self.streams.get(&stream.uid) {
                Some(before) if same => before.since,
                Some(_) | None => state.catalogue,
            };
            (stream.uid, Row { place, since })
        });
        self.streams = rows.collect();
        if state.group.is_some() {
            self.life = self.life.max(state.epoch);
        }
        self.observed = Some(Arc::clone(state));
    }

    fn is_up(&self) -> bool {
        let ready = |state: &Arc<ObservedState>| state.health.ready;
        self.session.is_some() && self.reported && self.observed.as_ref().is_some_and(ready)
    }

    fn note_health(&mut self, now: Duration) {
        if self.is_up() {
            self.away_since = None;
        } else if self.away_since.is_none() {
            self.away_since = Some(now);
        }
    }
}

/// Whether two reports of a stream are one to a gateway.
fn looks_as(before: &ObservedStream, after: &ObservedStream) -> bool {
    before.phase == after.phase
        && before.version == after.version
        && before.shard_count == after.shard_count
        && before.groups == after.groups
}

#[derive(Debug, Default)]
pub(super) struct Servers(BTreeMap<Identity, Server>);

impl Servers {
    pub(super) fn get(&self, server: &Identity) -> Option<&Server> {
        self.0.get(server)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Identity, &Server)> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Identity, &mut Server)> {
        self.0.iter_mut()
    }

    /// The gateways at work that have not followed the group's catalogue up to `point`.
    pub(super) fn behind(&self, group: &GroupId, point: CataloguePoint) -> Vec<Identity> {
        let gateways = self.0.iter().filter(|(id, _)| id.role() == Role::Gateway);
        gateways
            .filter(|(_, server)| server.is_behind(group, point))
            .map(|(id, _)| id.clone())
            .collect()
    }

    pub(super) fn gateways(&self) -> u32 {
        let attached =
            |(id, server): &(&Identity, &Server)| id.role() == Role::Gateway && server.reported;
        u32::try_from(self.0.iter().filter(attached).count()).unwrap_or(u32::MAX)
    }

    pub(super) fn attached(&mut self, server: Identity, session: u64, now: Duration) {
        let gateway = server.role() == Role::Gateway;
        let entry = self.0.entry(server).or_insert(Server {
            session: None,
            observed: None,
            life: Epoch(0),
            streams: BTreeMap::new(),
            reported: false,
            told: None,
            look_again: true,
            say_again: true,
            away_since: Some(now),
        });
        if entry.session.is_some_and(|old| old > session) {
            return;
        }
        entry.session = Some(session);
        entry.reported = false;
        entry.look_again = true;
        entry.say_again = true;
        entry.note_health(now);
        if gateway {
            self.forget_told();
        }
    }

    pub(super) fn detached(&mut self, server: &Identity, session: u64, now: Duration) {
        let Some(entry) = self.0.get_mut(server) else {
            return;
        };
        if entry.session != Some(session) {
            return;
        }
        entry.session = None;
        entry.reported = false;
        entry.note_health(now);
        if server.role() == Role::Gateway {
            // gateways come and go under new names
            self.0.remove(server);
            self.forget_told();
        }
    }

    /// Whether this is the server's session: what came in another one counts for nothing.
    pub(super) fn is_in(&self, session: u64, server: &Identity) -> bool {
        let entry = self.0.get(server);
        entry.is_some_and(|entry| entry.session == Some(session))
    }

    /// A report that counts: in the server's own session, and not outlived.
    pub(super) fn observed(&mut self, state: &Arc<ObservedState>, now: Duration) {
        let Some(entry) = self.0.get_mut(&state.server) else {
            return;
        };
        let first = !entry.reported;
        entry.take(state);
        entry.reported = true;
        entry.note_health(now);
        if first && state.server.role() == Role::Gateway {
            self.forget_told();
        }
    }

    /// Whether the report is of a process that a later life of its group has outlived: it knows nothing
    /// of what its successor has made and removed.
    pub(super) fn is_outlived(&self, state: &ObservedState) -> bool {
        let entry = self.0.get(&state.server);
        state.group.is_some() && entry.is_some_and(|entry| state.epoch < entry.life)
    }

    /// The version that the server goes by is above what it was told: it must be told again.
    pub(super) fn is_ahead(&self, server: &Identity, goes_by: PlacementVersion) -> bool {
        self.0.get(server).is_some_and(|entry| {
            entry
                .told
                .as_ref()
                .is_none_or(|told| told.version() < goes_by)
        })
    }

    pub(super) fn say_again(&mut self, server: &Identity) {
        if let Some(entry) = self.0.get_mut(server) {
            entry.told = None;
            entry.look_again = true;
            entry.say_again = true;
        }
    }

    pub(super) fn has_reported(&self, server: &Identity) -> bool {
        self.0.get(server).is_some_and(|entry| entry.reported)
    }

    /// What everybody should do has to be made again.
    pub(super) fn forget_told(&mut self) {
        for server in self.0.values_mut() {
            server.look_again = true;
        }
    }
}
