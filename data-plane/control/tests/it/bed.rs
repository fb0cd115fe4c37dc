//! Operators that do as a test says, and servers that attach to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::{BoxFuture, FutureExt as _};
use millstream_clock::{Clock as _, ManualClock, SeededEntropy, task};
use millstream_control::attach::{
    AttachHandle, AttachOptions, AttachService, Authenticator, Contract, ContractServer,
    PodIdentity, ReviewError, Session, SignError, Standby,
};
use millstream_control::{
    CreateStreamError, DeleteStreamError, DesiredState, Keeper, MemoryStore, ObservedState,
    PlacementVersion, Secret, ShardDesired, StreamSpec,
};
use millstream_link::authority::Authority;
use millstream_link::grpc::{ServeOptions, serve};
use millstream_link::testkit::{Claim, Claims, Pipes};
use millstream_link::{Address, Connector, Expected, Identity, Listener, Role};
use millstream_types::{Millis, Scope, StreamName};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

/// 2026-11-22.
pub(crate) const NOW: Millis = Millis(1_795_305_600_000);

pub(crate) fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

pub(crate) fn headless() -> Address {
    address("millstream-operator:4570")
}

/// Any replica of the operator.
pub(crate) fn operators() -> Expected {
    Expected::AnyOf {
        namespace: "team-a".to_owned(),
        role: Role::Operator,
    }
}

pub(crate) fn identity(role: Role, name: &str) -> Identity {
    Identity::new("team-a", role, name).expect("an identity")
}

pub(crate) fn shard(term: u64, counter: u64) -> Arc<DesiredState> {
    Arc::new(DesiredState::Shard(ShardDesired {
        version: PlacementVersion::new(term, counter),
        placement: PlacementVersion::new(term, 1),
        group: "team-a/default/0".parse().expect("a group"),
        peers: Vec::new(),
        streams: Vec::new(),
    }))
}

/// One replica of the operator.
pub(crate) struct Replica {
    pub(crate) leads: AtomicBool,
    pub(crate) authority: Mutex<Arc<Authority>>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) signed: Mutex<Vec<Identity>>,
    pub(crate) asked: Mutex<Vec<(Scope, StreamSpec)>>,
    pub(crate) answer: Mutex<Result<(), CreateStreamError>>,
    pub(crate) delete_answer: Mutex<Result<(), DeleteStreamError>>,
    sessions: mpsc::Sender<Session>,
}

impl Contract for Replica {
    fn leads(&self) -> bool {
        self.leads.load(Ordering::SeqCst)
    }

    fn attach(&self, session: Session) -> BoxFuture<'_, Result<(), Standby>> {
        async move { self.sessions.send(session).await.map_err(|_| Standby) }.boxed()
    }

    fn sign<'a>(
        &'a self,
        pod: &'a PodIdentity,
        identity: &'a Identity,
        request_pem: &'a str,
    ) -> BoxFuture<'a, Result<String, SignError>> {
        async move {
            if pod.uid != "uid-1" || identity.role() != Role::Shard {
                return Err(SignError::Refused("this pod is no shard server".to_owned()));
            }
            let authority = Arc::clone(&self.authority.lock());
            let signed = authority
                .sign(
                    request_pem,
                    identity,
                    self.clock.now(),
                    &SeededEntropy::new(5),
                )
                .map_err(|error| SignError::Refused(error.to_string()))?;
            self.signed.lock().push(identity.clone());
            Ok(signed)
        }
        .boxed()
    }

    fn create_stream<'a>(
        &'a self,
        scope: &'a Scope,
        spec: StreamSpec,
    ) -> BoxFuture<'a, Result<(), CreateStreamError>> {
        async move {
            self.asked.lock().push((scope.clone(), spec));
            self.answer.lock().clone()
        }
        .boxed()
    }

    fn delete_stream<'a>(
        &'a self,
        _: &'a Scope,
        _: &'a StreamName,
    ) -> BoxFuture<'a, Result<(), DeleteStreamError>> {
        async move { self.delete_answer.lock().clone() }.boxed()
    }
}

/// A token of which nobody ever says anything.
pub(crate) const HANGING_TOKEN: &str = "hanging";

/// Knows one token, `token of <pod> <uid>`.
struct Tokens;

impl Authenticator for Tokens {
    fn review<'a>(&'a self, token: &'a Secret) -> BoxFuture<'a, Result<PodIdentity, ReviewError>> {
        async move {
            if token.reveal() == HANGING_TOKEN {
                return std::future::pending().await;
            }
            let mut words = token.reveal().split(' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("token"), Some("of"), Some(pod), Some(uid)) => Ok(PodIdentity {
                    namespace: "team-a".to_owned(),
                    pod: pod.to_owned(),
                    uid: uid.to_owned(),
                }),
                _ => Err(ReviewError::Rejected("it is no token".to_owned())),
            }
        }
        .boxed()
    }
}

/// A replica, and what the test holds of it.
pub(crate) struct Operator {
    pub(crate) replica: Arc<Replica>,
    pub(crate) sessions: mpsc::Receiver<Session>,
    _stop: watch::Sender<bool>,
}

impl Operator {
    /// A replica that listens at `at`, on connections that `wrap` makes.
    pub(crate) fn on<L: Listener>(listener: L, authority: Arc<Authority>) -> Self {
        let (sender, sessions) = mpsc::channel(8);
        let replica = Arc::new(Replica {
            leads: AtomicBool::new(true),
            authority: Mutex::new(authority),
            clock: Arc::new(ManualClock::new(NOW)),
            signed: Mutex::default(),
            asked: Mutex::default(),
            answer: Mutex::new(Ok(())),
            delete_answer: Mutex::new(Ok(())),
            sessions: sender,
        });
        let (stop, stopped) = watch::channel(false);
        let contract: Arc<dyn Contract> = Arc::<Replica>::clone(&replica);
        let service = ContractServer::new(contract, Arc::new(Tokens)).service();
        drop(task::spawn(
            "test operator",
            serve(listener, service, ServeOptions::default(), stopped),
        ));
        Self {
            replica,
            sessions,
            _stop: stop,
        }
    }

    /// A replica that believes what its peers claim.
    pub(crate) fn claiming(pipes: &Pipes, at: &str) -> Self {
        let at = address(at);
        let name = at.host().to_owned();
        let listener = Claims::new(pipes.listen(&at), identity(Role::Operator, &name));
        let authority = Authority::generate(NOW, &SeededEntropy::new(1)).expect("a key");
        Self::on(listener, Arc::new(authority))
    }

    pub(crate) fn lead(&self, leads: bool) {
        self.replica.leads.store(leads, Ordering::SeqCst);
    }

    pub(crate) async fn session(&mut self) -> Session {
        let session = in_time(self.sessions.recv()).await;
        session.expect("the operator serves")
    }
}

/// The output of a future that must not wait for ever: simulated time runs on when all wait.
pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    let limit = std::time::Duration::from_secs(600);
    task::timeout(limit, future)
        .await
        .expect("within ten minutes")
}

/// A network whose operators are these.
pub(crate) fn network(operators: &[&str]) -> Pipes {
    let pipes = Pipes::default();
    pipes.name(
        &headless(),
        operators.iter().map(|text| address(text)).collect(),
    );
    pipes
}

/// A server that stays attached while it lives.
pub(crate) struct Server {
    pub(crate) handle: AttachHandle,
    pub(crate) observed: watch::Sender<ObservedState>,
    pub(crate) stop: watch::Sender<bool>,
}

impl Server {
    pub(crate) fn start(
        pipes: &Pipes,
        connector: Arc<dyn Connector>,
        identity: &Identity,
        disk: &MemoryStore,
    ) -> Self {
        let options = AttachOptions {
            operator: headless(),
            expected: operators(),
            resolver: Arc::new(pipes.clone()),
            connector,
            entropy: Arc::new(SeededEntropy::new(3)),
        };
        let keeper = Keeper::open(identity.clone(), Box::new(disk.clone())).expect("a good store");
        let observed = watch::Sender::new(ObservedState::starting(identity.clone()));
        let (service, handle) = AttachService::new(options, keeper, observed.subscribe());
        let (stop, stopped) = watch::channel(false);
        drop(task::spawn("test server", service.run(stopped)));
        Self {
            handle,
            observed,
            stop,
        }
    }

    /// A server that claims who it is.
    pub(crate) fn claiming(pipes: &Pipes, identity: &Identity, disk: &MemoryStore) -> Self {
        let claim = Claim::new(pipes.clone(), Some(identity.clone()));
        Self::start(pipes, Arc::new(claim), identity, disk)
    }

    /// The version that it goes by, once that is at least `least`.
    pub(crate) async fn holds(&self, least: PlacementVersion) -> PlacementVersion {
        let mut desired = self.handle.desired();
        let newer = desired.wait_for(|state| state.as_ref().is_some_and(|s| s.version() >= least));
        let held = in_time(newer).await.expect("the server runs");
        held.as_ref().expect("it is some").version()
    }
}
