//! Where servers attach: the coordinator with its effects carried out.
//!
//! What the coordinator wants sent goes out at once; what it wants written goes to one writer, and
//! is sent only after that. A server or a placement that tells of a later leader ends nothing here,
//! for a tenant can have either say so: a session ends, or a pool waits. The lease ends a leader.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_clock::{Clock, task};
use millstream_control::attach::Session;
use millstream_control::coordinator::{Coordinator, Effect, Input, StreamFacts};
use millstream_control::{DesiredState, Identity, ObservedState, Placement, PoolId, Role};
use millstream_types::{GroupId, StreamUid};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::placements::{Found, Placements, WriteError};
use crate::metrics::{Metrics, RoleLabel};
use crate::pulse::Pulse;

/// Placements that wait to be written: one per pool at a time, so many pools.
const WRITES_MAX: usize = 4_096;
/// How often the coordinator is told that time has passed.
const TICK: Duration = Duration::from_millis(500);
/// After how many idle ticks everybody looks again: what is away for long enough counts as away.
const TICKS_A_LOOK: u32 = 6;

/// The coordinator of this leader. Clones share it.
#[derive(Clone)]
pub struct Station(Arc<Inner>);

struct Inner {
    term: u64,
    coordinator: Mutex<Coordinator>,
    sessions: Mutex<BTreeMap<Identity, Seat>>,
    writes: mpsc::Sender<Placement>,
    placements: tokio::sync::Mutex<Placements>,
    latest: Mutex<BTreeMap<PoolId, Placement>>,
    /// The pools whose placement could not be used, and why.
    refused: BTreeMap<PoolId, String>,
    /// The pools whose placement cannot be written now: a later one is there.
    overtaken: Mutex<BTreeMap<PoolId, String>>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    changed: Pulse,
}

/// Where a server's desired state goes.
struct Seat {
    session: u64,
    desired: watch::Sender<Option<Arc<DesiredState>>>,
}

impl Seat {
    /// Tells the server, unless it is told something later already: effects are carried out outside
    /// of the coordinator's lock, and those of one thread may overtake another's.
    fn tell(&self, state: Arc<DesiredState>) {
        self.desired.send_if_modified(|told| {
            let is_later = told
                .as_ref()
                .is_none_or(|told| told.version() <= state.version());
            if is_later {
                *told = Some(state);
            }
            is_later
        });
    }
}

/// What the writer takes: give it to [`Station::write`].
pub struct Writes(mpsc::Receiver<Placement>);

impl Station {
    /// The station of a leader of `term` that found these placements. `changed` beats when what is
    /// known of a stream or a server may be different.
    #[must_use]
    pub fn new(
        term: u64,
        settle_within: Duration,
        found: Found,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        changed: Pulse,
    ) -> (Self, Writes) {
        let Found {
            placements,
            good: found,
            refused,
            is_whole,
        } = found;
        let (writes, written) = mpsc::channel(WRITES_MAX);
        let latest = found.iter().map(|p| (p.pool.clone(), p.clone())).collect();
        let mut coordinator =
            Coordinator::new(term, found, clock.monotonic()).settle_within(settle_within);
        if !is_whole || !refused.is_empty() {
            coordinator = coordinator.knowing_some_pools();
        }
        let station = Self(Arc::new(Inner {
            term,
            coordinator: Mutex::new(coordinator),
            sessions: Mutex::default(),
            writes,
            placements: tokio::sync::Mutex::new(placements),
            latest: Mutex::new(latest),
            refused,
            overtaken: Mutex::default(),
            clock,
            metrics,
            changed,
        }));
        (station, Writes(written))
    }

    /// Takes note of `input` and does what follows from it.
    pub fn handle(&self, input: Input) {
        let now = self.0.clock.monotonic();
        let effects = self.0.coordinator.lock().handle(now, input);
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::PersistPlacement(placement) => {
                let (pool, version) = (placement.pool.clone(), placement.version);
                self.0.latest.lock().insert(pool.clone(), placement.clone());
                if self.0.writes.try_send(placement).is_err() {
                    tracing::warn!(%pool, "too many placements wait to be written; it is retried");
                    self.handle(Input::PersistFailed { pool, version });
                }
            },
            Effect::Send { to, session, state } => {
                let sessions = self.0.sessions.lock();
                if let Some(seat) = sessions.get(&to).filter(|seat| seat.session == session) {
                    seat.tell(state);
                }
            },
            Effect::EndSession {
                server,
                session,
                seen,
            } => {
                tracing::warn!(%server, %seen, term = self.0.term, "a server goes by what this \
                    leader did not give; its session ends. If every server does, the lease was \
                    deleted: set its spec.leaseTransitions above that of the servers");
                self.end_session(&server, session);
            },
        }
    }

    /// Writes placements and lets time pass, for as long as the station is there.
    pub async fn write(&self, writes: Writes) {
        let Writes(mut writes) = writes;
        let mut ticks = 0_u32;
        loop {
            let Ok(placement) = task::timeout(TICK, writes.recv()).await else {
                self.handle(Input::Tick);
                ticks = (ticks + 1) % TICKS_A_LOOK;
                if ticks == 0 {
                    self.0.changed.beat();
                }
                continue;
            };
            let Some(placement) = placement else {
                return;
            };
            let (pool, version) = (placement.pool.clone(), placement.version);
            let written = self.0.placements.lock().await.write(&placement).await;
            match written {
                Ok(()) => {
                    self.0.overtaken.lock().remove(&pool);
                    self.handle(Input::PlacementPersisted { pool, version });
                },
                Err(error) => {
                    tracing::warn!(%pool, %version, %error, "a placement was not written");
                    if matches!(error, WriteError::Overtaken { .. }) {
                        let mut overtaken = self.0.overtaken.lock();
                        overtaken.insert(pool.clone(), error.to_string());
                    }
                    self.handle(Input::PersistFailed { pool, version });
                },
            }
            self.0.changed.beat();
        }
    }

    /// A server has attached.
    pub fn attach(&self, session: Session) {
        let Session {
            id,
            server,
            observed,
            desired,
        } = session;
        tracing::info!(%server, session = id, "a server has attached");
        self.0.sessions.lock().insert(
            server.clone(),
            Seat {
                session: id,
                desired,
            },
        );
        self.handle(Input::Attached {
            server: server.clone(),
            session: id,
        });
        self.count_servers();
        let station = self.clone();
        // It ends with the session.
        drop(task::spawn("station-session", async move {
            station.follow(server, id, observed).await;
        }));
    }

    async fn follow(
        &self,
        server: Identity,
        session: u64,
        mut observed: mpsc::Receiver<ObservedState>,
    ) {
        let mut last: Option<Arc<ObservedState>> = None;
        while let Some(state) = observed.recv().await {
            let state = Arc::new(state);
            let is_news = last.as_ref().is_none_or(|last| differs(last, &state));
            last = Some(Arc::clone(&state));
            self.handle(Input::Observed { session, state });
            if is_news {
                self.0.changed.beat();
            }
        }
        tracing::info!(%server, session, "a server has gone");
        self.handle(Input::Detached {
            server: server.clone(),
            session,
        });
        self.end_session(&server, session);
        self.count_servers();
        self.0.changed.beat();
    }

    /// Ends a session by letting go of its other end, unless the server has a later one.
    fn end_session(&self, server: &Identity, session: u64) {
        let mut sessions = self.0.sessions.lock();
        let seat = sessions.get(server);
        if seat.is_some_and(|seat| seat.session == session) {
            sessions.remove(server);
        }
    }

    fn count_servers(&self) {
        let sessions = self.0.sessions.lock();
        for role in [Role::Gateway, Role::Shard] {
            let count = sessions
                .keys()
                .filter(|server| server.role() == role)
                .count();
            let label = RoleLabel {
                role: role.as_str(),
            };
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.0.metrics.servers.get_or_create(&label).set(count);
        }
    }

    /// The leader's term.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.0.term
    }

    /// What is known of a stream.
    #[must_use]
    pub fn stream(&self, uid: StreamUid) -> StreamFacts {
        let now = self.0.clock.monotonic();
        self.0.coordinator.lock().stream(uid, now)
    }

    /// The placements as they are or are being written: the homes of all streams, orphans too.
    #[must_use]
    pub fn placements(&self) -> Vec<Placement> {
        self.0.latest.lock().values().cloned().collect()
    }

    /// The pools whose placement this leader could not use, and why. The coordinator is told nothing
    /// of them, so that nothing in them is placed or touched.
    #[must_use]
    pub fn refused(&self) -> &BTreeMap<PoolId, String> {
        &self.0.refused
    }

    /// Why nothing can be placed in a pool, of those that are such: its placement could not be used
    /// when this leader began, or a later one is there now. The latter passes once that is taken
    /// away, and with the next leader.
    #[must_use]
    pub fn unplaceable(&self) -> BTreeMap<PoolId, String> {
        let mut all = self.0.overtaken.lock().clone();
        all.extend(self.0.refused.clone());
        all
    }

    /// Whether the placement of a pool that was refused can be used now.
    pub async fn is_mended(&self, pool: &PoolId) -> bool {
        let mended = self.0.placements.lock().await.is_mended(pool).await;
        mended.unwrap_or_else(|error| {
            tracing::warn!(%pool, %error, "its placement was not looked at again");
            false
        })
    }

    /// Whether the leader has heard from every server, or has waited long enough.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.0.coordinator.lock().is_settled()
    }

    /// Whether the server of a group is attached, holds it, and does its work.
    #[must_use]
    pub fn serves(&self, group: &GroupId) -> bool {
        let coordinator = self.0.coordinator.lock();
        let Some(server) = coordinator.server_of(group) else {
            return false;
        };
        coordinator.server(&server).is_some_and(|facts| {
            let held = facts.observed.and_then(|observed| observed.group.clone());
            facts.ready && held.as_ref() == Some(group)
        })
    }

    /// Forgets a pool whose objects were deleted.
    pub async fn forget_pool(&self, pool: &PoolId) {
        self.0.placements.lock().await.forget(pool);
        self.0.latest.lock().remove(pool);
        self.0.overtaken.lock().remove(pool);
    }
}

/// Whether anything but a counter differs.
fn differs(old: &ObservedState, new: &ObservedState) -> bool {
    let plain = |state: &ObservedState| ObservedState {
        counters: millstream_control::Counters::default(),
        ..state.clone()
    };
    plain(old) != plain(new)
}

#[cfg(test)]
mod tests {
    use millstream_control::{PlacementVersion, ShardDesired};

    use super::*;

    #[test]
    fn a_server_is_never_told_again_what_is_older_than_it_was_told() {
        let (desired, told) = watch::channel(None);
        let seat = Seat {
            session: 1,
            desired,
        };
        let state = |counter| {
            let version = PlacementVersion::new(3, counter);
            Arc::new(DesiredState::Shard(ShardDesired {
                version,
                placement: version,
                group: "team/default/0".parse().expect("a group"),
                peers: Vec::new(),
                streams: Vec::new(),
            }))
        };
        for (counter, holds) in [(10, 10), (12, 12), (11, 12), (13, 13)] {
            seat.tell(state(counter));
            let held = told.borrow().as_ref().map(|state| state.version());
            assert_eq!(held, Some(PlacementVersion::new(3, holds)));
        }
    }
}
