//! One replica of the operator: the lease and the contract as they are, with the simulated API
//! server where Kubernetes is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use millstream_clock::{Clock, Entropy, task};
use millstream_control::attach::{
    Authenticator, Contract, ContractServer, PodIdentity, ReviewError, Session, SignError, Standby,
};
use millstream_control::coordinator::Phase;
use millstream_control::{
    Coordinator, CreateStreamError, DeleteStreamError, DesiredState, Effect, Identity, Input,
    Placement, Role, Secret, StreamSpec, WantedStream,
};
use millstream_link::grpc::{self, ServeOptions};
use millstream_link::testkit::Claims;
use millstream_operator::lease::{Leadership, campaign};
use millstream_types::{Scope, StreamName, StreamUid};
use tokio::sync::{mpsc, watch};

use crate::api_server::{ApiServer, CallError, Client, SimLease};
use crate::clock::{SimClock, entropy, mixed};
use crate::layout;
use crate::net::SimListener;
use crate::planted::{self, Planted};

/// How long the lease holds without renewal.
const LEASE: Duration = Duration::from_secs(4);
/// How often streams are looked at, and time is told.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Pause after a call that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(300);
/// Inputs that wait for the coordinator.
const INPUTS_MAX: usize = 256;

/// What one life of a replica is made of.
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) life: u64,
    pub(crate) clock: SimClock,
    pub(crate) api: ApiServer,
    pub(crate) planted: Planted,
}

impl Replica {
    /// Serves the contract as a standby, then leads, until the lease is lost: the process ends.
    pub(crate) async fn run(self) -> turmoil::Result {
        let seed = mixed(self.seed, &self.name, self.life);
        let client = Arc::new(Client::new(self.api.clone(), &self.name, seed));
        let (inputs, received) = mpsc::channel(INPUTS_MAX);
        let desk = Arc::new(Desk {
            leads: AtomicBool::new(false),
            inputs,
            client: Arc::clone(&client),
            entropy: entropy(self.seed, &self.name, self.life),
        });
        let me = layout::identity(Role::Operator, &self.name);
        let listener = SimListener::bind(&self.name, layout::CONTRACT_PORT).await?;
        let service =
            ContractServer::new(Arc::clone(&desk) as Arc<dyn Contract>, Arc::new(NoTokens));
        let (_stop, stopped) = watch::channel(false);
        drop(task::spawn(
            "sim contract",
            grpc::serve(
                Claims::new(listener, me),
                service.service(),
                ServeOptions::default(),
                stopped,
            ),
        ));
        let lease = Arc::new(SimLease::new(Arc::clone(&client)));
        let candidate = format!("{}-{}", self.name, self.life);
        let clock: Arc<dyn Clock> = Arc::new(self.clock);
        let leadership = campaign(lease, Arc::clone(&clock), candidate, LEASE).await;
        let leader = Leader {
            desk,
            client,
            clock,
            sessions: BTreeMap::new(),
            placement_revision: None,
            sent: 0,
            planted: self.planted,
        };
        leader.lead(leadership, received).await;
        Ok(())
    }
}

/// What the contract's calls see of the replica.
struct Desk {
    leads: AtomicBool,
    inputs: mpsc::Sender<Told>,
    client: Arc<Client>,
    entropy: Arc<dyn Entropy>,
}

/// What the leader is told by the contract's calls.
enum Told {
    Session(Session),
    Input(Input),
}

/// Identities come in plain text: nobody asks for a certificate.
struct NoTokens;

impl Authenticator for NoTokens {
    fn review<'a>(&'a self, _: &'a Secret) -> BoxFuture<'a, Result<PodIdentity, ReviewError>> {
        async { Err(ReviewError::Rejected("no tokens here".to_owned())) }.boxed()
    }
}

impl Contract for Desk {
    fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    fn attach(&self, session: Session) -> BoxFuture<'_, Result<(), Standby>> {
        async move {
            let sent = self.inputs.send(Told::Session(session)).await;
            sent.map_err(|_| Standby)
        }
        .boxed()
    }

    fn sign<'a>(
        &'a self,
        _: &'a PodIdentity,
        _: &'a Identity,
        _: &'a str,
    ) -> BoxFuture<'a, Result<String, SignError>> {
        async { Err(SignError::Refused("no certificates here".to_owned())) }.boxed()
    }

    fn create_stream<'a>(
        &'a self,
        scope: &'a Scope,
        spec: StreamSpec,
    ) -> BoxFuture<'a, Result<(), CreateStreamError>> {
        async move {
            let uid = StreamUid(self.entropy.u128());
            let name = spec.name.to_string();
            let created = self.client.create_stream(uid, scope, spec).await;
            created.map_err(|error| match error {
                CallError::Conflict => CreateStreamError::Exists(name),
                CallError::Unavailable | CallError::NotFound => CreateStreamError::Internal,
            })
        }
        .boxed()
    }

    fn delete_stream<'a>(
        &'a self,
        scope: &'a Scope,
        name: &'a StreamName,
    ) -> BoxFuture<'a, Result<(), DeleteStreamError>> {
        async move {
            let deleted = self.client.delete_stream(scope, name).await;
            deleted.map_err(|error| match error {
                CallError::NotFound => DeleteStreamError::NotFound(name.to_string()),
                CallError::Unavailable | CallError::Conflict => DeleteStreamError::Internal,
            })
        }
        .boxed()
    }
}

/// Feeds the coordinator and does what it asks for.
struct Leader {
    desk: Arc<Desk>,
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
    sessions: BTreeMap<u64, watch::Sender<Option<Arc<DesiredState>>>>,
    placement_revision: Option<u64>,
    sent: u64,
    planted: Planted,
}

/// The leader must end: its lease is lost, or it has heard of a later one.
struct Deposed;

impl Leader {
    async fn lead(mut self, mut leadership: Leadership<SimLease>, mut told: mpsc::Receiver<Told>) {
        let term = leadership.term();
        tokio::select! {
            biased;
            () = leadership.lost() => tracing::info!(term, "the lease is lost"),
            Deposed = self.work(term, &mut told) => {},
        }
    }

    async fn work(&mut self, term: u64, told: &mut mpsc::Receiver<Told>) -> Deposed {
        let found = loop {
            match self.client.placement().await {
                Ok(found) => break found,
                Err(_) => task::sleep(RETRY_PAUSE).await,
            }
        };
        self.placement_revision = found.as_ref().map(|(_, revision)| *revision);
        let found: Vec<Placement> = found.into_iter().map(|(placement, _)| placement).collect();
        let mut coordinator = Coordinator::new(term, found, self.clock.monotonic());
        let mut first = vec![
            Input::Pools(vec![layout::pool_spec()]),
            Input::Access(layout::access()),
        ];
        self.desk.leads.store(true, Ordering::Relaxed);
        let mut streams = Streams::default();
        loop {
            for input in first.drain(..) {
                if self.handle(&mut coordinator, input).await {
                    return Deposed;
                }
            }
            tokio::select! {
                biased;
                Some(next) = told.recv() => first.extend(self.hear(next)),
                () = task::sleep(LOOK_EVERY) => {
                    first.push(Input::Tick);
                    first.extend(streams.look(&self.client).await);
                    streams.finalize(&self.client, &coordinator, self.clock.monotonic()).await;
                },
            }
        }
    }

    fn hear(&mut self, told: Told) -> Option<Input> {
        match told {
            Told::Input(input) => {
                if let Input::Detached { session, .. } = &input {
                    self.sessions.remove(session);
                }
                Some(input)
            },
            Told::Session(session) => {
                let Session {
                    id,
                    server,
                    mut observed,
                    desired,
                } = session;
                self.sessions.insert(id, desired);
                let (inputs, of) = (self.desk.inputs.clone(), server.clone());
                let hide = self.planted == Planted::StaleAccepted;
                drop(task::spawn("sim session", async move {
                    while let Some(mut state) = observed.recv().await {
                        if hide {
                            // It would name a version that no leader has given out.
                            state.desired = None;
                        }
                        let state = Arc::new(state);
                        let input = Input::Observed { session: id, state };
                        if inputs.send(Told::Input(input)).await.is_err() {
                            return;
                        }
                    }
                    let input = Input::Detached {
                        server: of,
                        session: id,
                    };
                    drop(inputs.send(Told::Input(input)).await);
                }));
                Some(Input::Attached {
                    server,
                    session: id,
                })
            },
        }
    }

    /// Carries out what follows from an input; true when the leader is deposed.
    async fn handle(&mut self, coordinator: &mut Coordinator, input: Input) -> bool {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in coordinator.handle(self.clock.monotonic(), input) {
                match effect {
                    Effect::PersistPlacement(placement) => {
                        inputs.push(self.persist(placement).await);
                    },
                    Effect::Send { session, state, .. } => self.send(session, state),
                    Effect::StepDown { seen } => {
                        tracing::info!(%seen, "a server has heard of a later leader");
                        return true;
                    },
                }
            }
        }
        false
    }

    /// Writes a placement over the one last read. After a failure it looks what is there: the
    /// write may have happened.
    async fn persist(&mut self, placement: Placement) -> Input {
        let (pool, version) = (placement.pool.clone(), placement.version);
        let revision = self.placement_revision;
        if let Ok(revision) = self.client.write_placement(&placement, revision).await {
            self.placement_revision = Some(revision);
            return Input::PlacementPersisted { pool, version };
        }
        if let Ok(Some((there, revision))) = self.client.placement().await {
            if there.version == version {
                self.placement_revision = Some(revision);
                return Input::PlacementPersisted { pool, version };
            }
            if there.version < version {
                self.placement_revision = Some(revision);
            }
        }
        Input::PersistFailed { pool, version }
    }

    fn send(&mut self, session: u64, mut state: Arc<DesiredState>) {
        self.sent += 1;
        if self.planted == Planted::StaleAccepted {
            let now = self.clock.monotonic();
            state = Arc::new(planted::newer_than_true(&state, now, self.sent));
        }
        if let Some(desired) = self.sessions.get(&session) {
            desired.send_replace(Some(state));
        }
    }
}

/// The streams as last listed.
#[derive(Default)]
struct Streams {
    revision: Option<u64>,
    deleted: Vec<StreamUid>,
}

impl Streams {
    /// The streams, if they have changed.
    async fn look(&mut self, client: &Client) -> Option<Input> {
        let (streams, revision) = client.list_streams().await.ok()?;
        if self.revision.replace(revision) == Some(revision) {
            return None;
        }
        let deleted = streams.iter().filter(|stream| stream.delete);
        self.deleted = deleted.map(|stream: &WantedStream| stream.uid).collect();
        Some(Input::Streams(streams))
    }

    /// Lets go of the objects whose streams are gone.
    async fn finalize(&self, client: &Client, coordinator: &Coordinator, now: Duration) {
        for uid in &self.deleted {
            if coordinator.stream(*uid, now).phase == Phase::Gone {
                // It is looked at again, whatever came of it.
                let (Ok(()) | Err(_)) = client.finalize_stream(*uid).await;
            }
        }
    }
}
