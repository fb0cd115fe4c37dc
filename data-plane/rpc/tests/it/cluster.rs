//! A pool of shard servers and a gateway, each with its own certificate, in one process.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use millstream_clock::{Clock, Entropy, SystemClock, SystemEntropy, task};
use millstream_link::authority::Authority;
use millstream_link::grpc::{ServeOptions, serve};
use millstream_link::tcp::{TcpConnector, TcpListener};
use millstream_link::tls::{Keys, TlsConnector, TlsListener};
use millstream_link::{
    Address, BoxIo, ConnectError, Connection, Connector, Endpoint, Identity, Listener as _, Role,
};
use millstream_rpc::{
    Caller, Follower, Options, REQUEST_BYTES_MAX, RemoteGroups, Routed, Seen, ShardService,
};
use millstream_storage::memory::MemoryStore;
use millstream_stream::{
    Home, Kind, NewStream, PutEntry, Settings, ShardStore, Spread, Streams, TokenKey,
};
use millstream_types::{Epoch, GroupId, HashKey, Scope, StreamMode, StreamName, StreamUid};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

pub(crate) const POOL: &str = "team-a/default";

pub(crate) fn group(ordinal: u32) -> GroupId {
    GroupId::new("team-a", "default", ordinal).expect("a group")
}

pub(crate) fn scope() -> Scope {
    Scope {
        account: "000000000000".parse().expect("an account"),
        region: "eu-west-1".parse().expect("a region"),
    }
}

pub(crate) fn name(text: &str) -> StreamName {
    text.parse().expect("a stream name")
}

pub(crate) fn entry_at(hash_key: u128, data: impl Into<Bytes>) -> PutEntry {
    PutEntry {
        partition_key: "key".parse().expect("a partition key"),
        explicit_hash_key: Some(HashKey(hash_key)),
        data: data.into(),
    }
}

/// Whoever signs certificates, and the clock of all.
pub(crate) struct World {
    pub(crate) clock: Arc<dyn Clock>,
    /// Bytes of requests for which servers have room.
    pub(crate) request_bytes: usize,
    authority: Authority,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let authority = Authority::generate(clock.now(), &SystemEntropy);
        Self {
            request_bytes: REQUEST_BYTES_MAX,
            authority: authority.expect("an authority"),
            clock,
        }
    }

    /// Keys of a process that is who it says.
    pub(crate) fn keys(&self, role: Role, name: &str) -> Keys {
        let identity = Identity::new("team-a", role, name).expect("an identity");
        let pair = self
            .authority
            .issue(&identity, self.clock.now(), &SystemEntropy);
        let pair = pair.expect("a certificate");
        let keys = Keys::new(Arc::clone(&self.clock), self.authority.certificate_pem());
        let keys = keys.expect("a bundle");
        keys.install(&pair.certificate_pem, &pair.key_pem)
            .expect("its own key");
        keys
    }

    pub(crate) fn connector(&self, role: Role, name: &str) -> Arc<dyn Connector> {
        let keys = self.keys(role, name);
        Arc::new(TlsConnector::new(Arc::new(TcpConnector), keys))
    }

    pub(crate) fn caller(&self, options: Options, connector: Arc<dyn Connector>) -> Caller {
        Caller::new(options, connector, Arc::clone(&self.clock))
    }

    pub(crate) fn gateway(&self, options: Options, connector: Arc<dyn Connector>) -> Gateway {
        let caller = self.caller(options, connector);
        let streams = Streams::replica(
            Arc::new(Routed::new(caller.clone())),
            millstream_stream::Options::default(),
            Arc::clone(&self.clock),
            Arc::new(SystemEntropy),
            &TokenKey::new([7; 32]),
        );
        let follower = Follower::new(streams.clone(), caller.clone());
        let seen = follower.seen();
        drop(task::spawn("follow", follower.run(std::future::pending())));
        Gateway {
            streams,
            caller,
            seen,
        }
    }

    /// A server of `store`, as its process finds it.
    pub(crate) async fn serve<S: ShardStore>(
        &self,
        store: Arc<S>,
        group: GroupId,
        epoch: u64,
    ) -> Server<S> {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let streams = Streams::open(
            Arc::clone(&store),
            millstream_stream::Options::default(),
            Arc::clone(&self.clock),
            entropy,
            &TokenKey::new([7; 32]),
        );
        let streams = streams.expect("the rows are in order");
        let service = ShardService::new(
            Arc::clone(&store),
            streams.clone(),
            group.clone(),
            Epoch(epoch),
        );
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let socket = TcpListener::bind(&loopback).await.expect("a port");
        let address = socket.address();
        let pod = format!("shard-{}", group.ordinal());
        let listener = TlsListener::new(socket, self.keys(Role::Shard, &pod));
        let (stop, stopped) = watch::channel(false);
        let options = ServeOptions {
            // Longer than any test: nothing that only waits may hold a server up.
            drain_timeout: std::time::Duration::from_secs(3600),
            ..ServeOptions::default()
        };
        let service = service.into_server().within(self.request_bytes);
        let serving = serve(listener, service, options, stopped);
        let serving = task::spawn("serve", serving);
        Server {
            store,
            streams,
            group,
            address,
            stop,
            serving,
        }
    }

    /// A pool of so many groups, each over memory, in their first life.
    pub(crate) async fn pool(&self, groups: u32) -> Vec<Server<MemoryStore>> {
        let mut servers = Vec::new();
        for ordinal in 0..groups {
            let store = Arc::new(MemoryStore::new(Arc::clone(&self.clock)));
            servers.push(self.serve(store, group(ordinal), 1).await);
        }
        servers
    }

    /// A stream at home in the first group, spread over all.
    pub(crate) async fn create<S: ShardStore>(
        &self,
        servers: &[Server<S>],
        text: &str,
        shards: u64,
    ) {
        let home = &servers[0];
        let new = NewStream {
            name: name(text),
            mode: StreamMode::Provisioned,
            shard_count: shards,
            settings: Settings::default(),
        };
        let spread = Spread {
            home: home.group.clone(),
            groups: servers.iter().map(|server| server.group.clone()).collect(),
        };
        let uid = StreamUid(SystemEntropy.u128());
        let begun = home.streams.begin_create(uid, &scope(), new, spread).await;
        begun.expect("begun");
        let caller = self.caller(Options::default(), self.connector(Role::Shard, "shard-0"));
        assert!(caller.place(POOL, (1, 0), &placed(servers)));
        let peers = Arc::new(RemoteGroups::new(caller));
        let mut work = Home::new(home.streams.clone(), home.group.clone(), peers);
        assert_eq!(work.pass().await.waiting, 0);
    }
}

/// Who holds a group.
pub(crate) fn server_of(group: &GroupId) -> Identity {
    let pod = format!("shard-{}", group.ordinal());
    Identity::new(group.namespace(), Role::Shard, &pod).expect("an identity")
}

/// Where the groups are.
pub(crate) fn placed<S>(servers: &[Server<S>]) -> BTreeMap<GroupId, Endpoint> {
    let each = servers.iter();
    each.map(|server| (server.group.clone(), server.endpoint()))
        .collect()
}

pub(crate) struct Server<S> {
    pub(crate) store: Arc<S>,
    pub(crate) streams: Streams<S>,
    pub(crate) group: GroupId,
    pub(crate) address: Address,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

impl<S> Server<S> {
    /// Where it is, and who it proves to be.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::of(self.address.clone(), server_of(&self.group))
    }

    /// Ends it; what is left is its store.
    pub(crate) async fn end(self) -> Arc<S> {
        self.stop.send_replace(true);
        let limit = std::time::Duration::from_secs(60);
        let ended = task::timeout(limit, self.serving).await;
        ended.expect("nothing holds it up").expect("it ends");
        self.store
    }
}

pub(crate) struct Gateway {
    pub(crate) streams: Streams<Routed>,
    pub(crate) caller: Caller,
    pub(crate) seen: watch::Receiver<BTreeMap<GroupId, Seen>>,
}

impl Gateway {
    /// Takes a placement over, and waits until every group has told of its streams.
    pub(crate) async fn place<S>(&mut self, version: u64, servers: &[Server<S>]) {
        assert!(self.caller.place(POOL, (1, version), &placed(servers)));
        let count = servers.len();
        let seen = self.seen.wait_for(|seen| seen.len() == count).await;
        drop(seen.expect("the follower lives"));
    }

    /// Puts a record into the stream `s`.
    pub(crate) async fn put(&self, hash_key: u128, data: impl Into<Bytes>) -> Result<(), Kind> {
        let entry = entry_at(hash_key, data);
        let (scope, name) = (scope(), name("s"));
        let put = self.streams.put_record(&scope, &name, entry, None).await;
        put.map(drop).map_err(|error| error.kind())
    }

    /// Every payload of a shard, in order.
    pub(crate) async fn payloads(&self, text: &str, shard: u32) -> Vec<String> {
        let start = millstream_stream::StartingPosition::TrimHorizon;
        let shard = format!("shardId-{shard:012}");
        let given = self
            .streams
            .iterator(&scope(), &name(text), &shard, start)
            .await;
        let mut iterator = given.expect("an iterator");
        let mut payloads = Vec::new();
        loop {
            let read = self
                .streams
                .get_records(&scope(), None, &iterator, Some(7))
                .await;
            let read = read.expect("records");
            let text = |data: &Bytes| String::from_utf8(data.to_vec()).expect("a text");
            payloads.extend(read.records.iter().map(|record| text(&record.data)));
            if read.millis_behind_latest == 0 {
                return payloads;
            }
            iterator = read.next_iterator.expect("an open shard goes on");
        }
    }
}

/// A hash key in the middle of a shard of so many.
pub(crate) fn key_of(shard: u32, of: u32) -> u128 {
    u128::MAX / u128::from(of) * u128::from(shard) + 1_000
}

/// Connections that can be cut: from then on nothing comes in any more, whatever was sent.
#[derive(Clone)]
pub(crate) struct Cuttable {
    pub(crate) cut: Arc<AtomicBool>,
}

impl Cuttable {
    pub(crate) fn new() -> Self {
        Self {
            cut: Arc::new(AtomicBool::new(false)),
        }
    }
}

impl Connector for Cuttable {
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        async move {
            let inner = TcpConnector.connect(to).await?.io;
            let cut = Arc::clone(&self.cut);
            Ok(Connection::plain(CuttableIo { inner, cut }))
        }
        .boxed()
    }
}

struct CuttableIo {
    inner: BoxIo,
    cut: Arc<AtomicBool>,
}

impl AsyncRead for CuttableIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if self.cut.load(Ordering::SeqCst) && read.is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        read
    }
}

impl AsyncWrite for CuttableIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
