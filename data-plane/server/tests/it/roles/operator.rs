//! An operator inside the test: it signs certificates, knows its pods by heart, and wants what the
//! test and the clients' CreateStream ask for.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use millstream_clock::{Clock, Entropy as _, SystemClock, SystemEntropy, task};
use millstream_control::attach::{
    Authenticator, Contract, ContractServer, PodIdentity, ReviewError, Session, SignError, Standby,
};
use millstream_control::{
    Access, AccessKey, Address, CreateStreamError, DeleteStreamError, DesiredState, GatewayDesired,
    HomedStream, Identity, ObservedState, Peer, PlacementVersion, PoolId, Role, Routes, Seat,
    Secret, ShardDesired, StreamSpec, Version, Wanted,
};
use millstream_link::Listener as _;
use millstream_link::authority::Authority;
use millstream_link::grpc::{ServeOptions, serve};
use millstream_link::tcp::TcpListener;
use millstream_link::tls::{Keys, TlsListener};
use millstream_types::{GroupId, Scope, StreamName, StreamUid};
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::watch;

pub(crate) const NAMESPACE: &str = "team-a";
pub(crate) const POOL: &str = "default";
pub(crate) const ACCOUNT: &str = "111122223333";

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub(crate) fn pod_of(ordinal: u32) -> String {
    format!("millstream-shard-{POOL}-{ordinal}")
}

pub(crate) fn token_of(pod: &str) -> String {
    format!("token of {pod}")
}

fn group(ordinal: u32) -> GroupId {
    GroupId::new(NAMESPACE, POOL, ordinal).expect("a group")
}

/// What the operator knows.
struct State {
    clock: Arc<dyn Clock>,
    authority: Authority,
    shards: Vec<Address>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    counter: u64,
    streams: Vec<HomedStream>,
    sessions: Vec<(Identity, watch::Sender<Option<Arc<DesiredState>>>)>,
    observed: BTreeMap<Identity, ObservedState>,
}

impl State {
    fn desired(&self, known: &Known, server: &Identity) -> DesiredState {
        let version = PlacementVersion::new(1, known.counter);
        let placement = PlacementVersion::new(1, 1);
        let seats = || (0u32..).zip(&self.shards);
        if server.role() == Role::Gateway {
            let pool = PoolId::new(NAMESPACE, POOL).expect("a pool");
            let groups = seats().map(|(ordinal, address)| {
                let seat = Seat {
                    pod: pod_of(ordinal),
                    address: address.clone(),
                    direct: None,
                };
                (group(ordinal), seat)
            });
            return DesiredState::Gateway(GatewayDesired {
                version,
                routes: vec![Routes {
                    pool,
                    version: placement,
                    groups: groups.collect(),
                    streams: Vec::new(),
                }],
                pools: None,
                access: Access {
                    access_keys: vec![AccessKey {
                        id: "ours".to_owned(),
                        secret: Secret::new("ours-secret".to_owned()),
                        account: ACCOUNT.parse().expect("an account"),
                    }],
                    accounts: [(NAMESPACE.to_owned(), ACCOUNT.parse().expect("an account"))].into(),
                    token_key: Some(Secret::new("5a".repeat(32))),
                },
                gateways: 2,
            });
        }
        let ordinal = server
            .name()
            .rsplit('-')
            .next()
            .and_then(|n| n.parse().ok());
        let ordinal: u32 = ordinal.expect("a shard server's pod");
        let peers = seats().map(|(ordinal, address)| Peer {
            group: group(ordinal),
            server: Identity::new(NAMESPACE, Role::Shard, &pod_of(ordinal)).expect("a pod"),
            address: address.clone(),
            direct: None,
        });
        DesiredState::Shard(ShardDesired {
            version,
            placement,
            group: group(ordinal),
            peers: peers.collect(),
            // Every stream is at home in the first group.
            streams: if ordinal == 0 {
                known.streams.clone()
            } else {
                Vec::new()
            },
        })
    }

    fn tell_all(&self, known: &mut Known) {
        known.counter += 1;
        for (server, desired) in &known.sessions {
            desired.send_replace(Some(Arc::new(self.desired(known, server))));
        }
    }
}

impl Contract for State {
    fn leads(&self) -> bool {
        true
    }

    fn attach(&self, session: Session) -> Boxed<'_, Result<(), Standby>> {
        Box::pin(async move {
            let mut known = self.known.lock();
            let desired = self.desired(&known, &session.server);
            session.desired.send_replace(Some(Arc::new(desired)));
            known
                .sessions
                .push((session.server.clone(), session.desired));
            drop(known);
            let (server, mut observed) = (session.server, session.observed);
            let known = Arc::clone(&self.known);
            drop(task::spawn("observed", async move {
                while let Some(state) = observed.recv().await {
                    known.lock().observed.insert(server.clone(), state);
                }
            }));
            Ok(())
        })
    }

    fn sign<'a>(
        &'a self,
        _: &'a PodIdentity,
        identity: &'a Identity,
        request_pem: &'a str,
    ) -> Boxed<'a, Result<String, SignError>> {
        Box::pin(async move {
            let now = self.clock.now();
            let signed = self
                .authority
                .sign(request_pem, identity, now, &SystemEntropy);
            signed.map_err(|error| SignError::Refused(error.to_string()))
        })
    }

    fn create_stream<'a>(
        &'a self,
        scope: &'a Scope,
        spec: StreamSpec,
    ) -> Boxed<'a, Result<(), CreateStreamError>> {
        Box::pin(async move {
            let mut known = self.known.lock();
            known.streams.push(HomedStream {
                made: false,
                uid: StreamUid(SystemEntropy.u128()),
                scope: scope.clone(),
                name: spec.name.clone(),
                wanted: Wanted::Serve,
                version: Version(1),
                spec: Some(spec),
            });
            self.tell_all(&mut known);
            Ok(())
        })
    }

    fn delete_stream<'a>(
        &'a self,
        _: &'a Scope,
        name: &'a StreamName,
    ) -> Boxed<'a, Result<(), DeleteStreamError>> {
        Box::pin(async move {
            let mut known = self.known.lock();
            for stream in known
                .streams
                .iter_mut()
                .filter(|stream| stream.name == *name)
            {
                stream.wanted = Wanted::Delete;
            }
            self.tell_all(&mut known);
            Ok(())
        })
    }
}

/// Knows a pod by its token.
struct ByHeart;

impl Authenticator for ByHeart {
    fn review<'a>(&'a self, token: &'a Secret) -> Boxed<'a, Result<PodIdentity, ReviewError>> {
        Box::pin(async move {
            let pod = token.reveal().strip_prefix("token of ");
            let pod = pod.ok_or_else(|| ReviewError::Rejected("no token".to_owned()))?;
            Ok(PodIdentity {
                namespace: NAMESPACE.to_owned(),
                pod: pod.to_owned(),
                uid: format!("uid of {pod}"),
            })
        })
    }
}

/// A running operator; it is gone when this is dropped.
pub(crate) struct Operator {
    pub(crate) address: Address,
    pub(crate) bundle: String,
    known: Arc<Mutex<Known>>,
    _runtime: Runtime,
}

impl Operator {
    /// An operator of one pool, whose shard servers listen there.
    pub(crate) fn start(shards: Vec<Address>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let authority = Authority::generate(clock.now(), &SystemEntropy).expect("an authority");
        let bundle = authority.certificate_pem().to_owned();
        let own = Identity::new(NAMESPACE, Role::Operator, "operator-0").expect("a pod");
        let pair = authority.issue(&own, clock.now(), &SystemEntropy);
        let pair = pair.expect("a certificate");
        let keys = Keys::new(Arc::clone(&clock), &bundle).expect("a bundle");
        keys.install(&pair.certificate_pem, &pair.key_pem)
            .expect("its own key");
        let state = Arc::new(State {
            clock,
            authority,
            shards,
            known: Arc::default(),
        });
        let known = Arc::clone(&state.known);
        let runtime = Runtime::new().expect("a runtime");
        let address = runtime.block_on(async move {
            let loopback = "127.0.0.1:0".parse().expect("an address");
            let socket = TcpListener::bind(&loopback).await.expect("a port");
            let address = socket.address();
            let listener = TlsListener::anonymous_too(socket, keys);
            let service = ContractServer::new(state, Arc::new(ByHeart)).service();
            let (stop, stopped) = watch::channel(false);
            drop(task::spawn("operator", async move {
                serve(listener, service, ServeOptions::default(), stopped).await;
                drop(stop);
            }));
            address
        });
        Self {
            address,
            bundle,
            known,
            _runtime: runtime,
        }
    }

    /// What the server in this pod has reported last.
    pub(crate) fn observed(&self, role: Role, pod: &str) -> Option<ObservedState> {
        let server = Identity::new(NAMESPACE, role, pod).expect("a pod");
        self.known.lock().observed.get(&server).cloned()
    }
}
