//! Calls to the server of a group: finds it, names the group's epoch, and repeats what was refused.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use millstream_clock::{Clock, task};
use millstream_link::grpc::{Channel, MESSAGE_BYTES_MAX};
use millstream_link::{Connector, Endpoint};
use millstream_stream::Stream;
use millstream_types::{Epoch, GroupId, ShardUid, StreamUid};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tonic::client::Grpc;

use crate::convert;
use crate::meter::{Called, Meter, Side};
use crate::routes::Routes;
use crate::verdict::{Refused, Verdict};
use crate::wanted::{Wanted, WhileWanted};
use crate::wire;
use crate::wire::shards_client::ShardsClient;

/// First pause before a call is repeated; it doubles up to the last one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_millis(250);

/// Limits of a client.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For how long a call that is refused is repeated.
    pub repeat_for: Duration,
    /// For how long an answer is waited for.
    pub answer_within: Duration,
    /// Most bytes of records on their way to servers; what does not fit is refused.
    pub in_flight_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            repeat_for: Duration::from_secs(2),
            answer_within: Duration::from_secs(15),
            in_flight_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Calls to the servers of groups. Clones share routes and connections.
#[derive(Clone)]
pub struct Caller(Arc<Shared>);

struct Shared {
    options: Options,
    connector: Arc<dyn Connector>,
    clock: Arc<dyn Clock>,
    meter: OnceLock<Arc<dyn Meter>>,
    routes: RwLock<Routes>,
    /// Counts the changes of groups and their addresses.
    placed: watch::Sender<u64>,
    channels: Mutex<HashMap<Endpoint, (Channel, Wanted)>>,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").finish_non_exhaustive()
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// It was not carried out.
    #[error("not carried out: {0}")]
    Refused(String),
    /// The server had no room for it, and did not carry it out.
    #[error("the server has no room for it")]
    Overloaded,
    /// It may have been carried out.
    #[error("no answer: {0}")]
    Unknown(String),
}

/// Calls to one server.
pub(crate) struct Client {
    shards: ShardsClient<Channel>,
    channel: Channel,
}

impl Client {
    /// For a call whose messages are not the generated ones.
    pub(crate) fn grpc(&self) -> Grpc<Channel> {
        Grpc::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

impl Deref for Client {
    type Target = ShardsClient<Channel>;

    fn deref(&self) -> &ShardsClient<Channel> {
        &self.shards
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut ShardsClient<Channel> {
        &mut self.shards
    }
}

impl Caller {
    /// Knows of no group yet; connections are opened by `connector`.
    #[must_use]
    pub fn new(options: Options, connector: Arc<dyn Connector>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            options,
            connector,
            clock,
            meter: OnceLock::new(),
            routes: RwLock::default(),
            placed: watch::Sender::new(0),
            channels: Mutex::default(),
        }))
    }

    /// Counts its calls from now on. To be called once; a second meter is not used.
    pub fn count_by(&self, meter: Arc<dyn Meter>) {
        self.0.meter.get_or_init(|| meter);
    }

    /// Takes over which server holds which group of a pool (`<namespace>/<pool>`). Whoever else
    /// answers at its address is not called. A placement that is older than the last one of the
    /// pool is refused: false.
    pub fn place(
        &self,
        pool: &str,
        version: (u64, u64),
        groups: &BTreeMap<GroupId, Endpoint>,
    ) -> bool {
        let mut routes = self.0.routes.write();
        let taken = routes.place(pool, version, groups);
        if taken {
            let wanted = |server: &Endpoint| routes.groups().any(|(_, r)| r.server == *server);
            self.0.channels.lock().retain(|server, _| wanted(server));
            self.0.placed.send_modify(|count| *count += 1);
        }
        taken
    }

    /// Forgets the groups of every pool (namespace and name) that `is_there` does not know, and
    /// their connections.
    pub fn keep_pools(&self, is_there: impl Fn(&str, &str) -> bool) {
        let mut routes = self.0.routes.write();
        let before = routes.groups().count();
        routes.keep_pools(is_there);
        if routes.groups().count() != before {
            let wanted = |server: &Endpoint| routes.groups().any(|(_, r)| r.server == *server);
            self.0.channels.lock().retain(|server, _| wanted(server));
            self.0.placed.send_modify(|count| *count += 1);
        }
    }

    /// Counts the changes of groups and addresses.
    pub(crate) fn placed(&self) -> watch::Receiver<u64> {
        self.0.placed.subscribe()
    }

    /// The groups and their servers.
    pub(crate) fn groups(&self) -> BTreeMap<GroupId, Endpoint> {
        let routes = self.0.routes.read();
        let each = routes.groups();
        each.map(|(group, route)| (group.clone(), route.server.clone()))
            .collect()
    }

    pub(crate) fn learn_epoch(&self, group: &GroupId, epoch: Epoch) {
        if self.0.routes.write().learn_epoch(group, epoch) {
            tracing::info!(%group, %epoch, "a group's writer has a new life");
        }
    }

    pub(crate) fn put_stream(&self, home: &GroupId, stream: &Stream) {
        let shards = stream.map().shards().iter();
        let placed = shards.filter_map(|shard| Some((shard.uid, shard.group.clone()?)));
        self.0.routes.write().put_stream(home, stream.uid(), placed);
    }

    pub(crate) fn remove_stream(&self, home: &GroupId, stream: StreamUid) {
        self.0.routes.write().remove_stream(home, stream);
    }

    pub(crate) fn group_of(&self, shard: ShardUid) -> Option<GroupId> {
        self.0.routes.read().group_of(shard).cloned()
    }

    /// Where the group is, as far as it is known.
    pub(crate) fn server_of(&self, group: &GroupId) -> Option<Endpoint> {
        let route = self.0.routes.read().group(group);
        route.map(|route| route.server)
    }

    /// Time since some fixed moment.
    pub(crate) fn now(&self) -> Duration {
        self.0.clock.monotonic()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn client(&self, server: &Endpoint) -> Client {
        let mut channels = self.0.channels.lock();
        let (channel, _) = channels.entry(server.clone()).or_insert_with(|| {
            let (connector, wanted) = WhileWanted::new(Arc::clone(&self.0.connector));
            (Channel::new(Arc::new(connector), server.clone()), wanted)
        });
        let shards = ShardsClient::new(channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Client {
            shards,
            channel: channel.clone(),
        }
    }

    /// Calls the server of `group`, again while the call is refused and there is time. `name` is
    /// what it is counted by.
    pub(crate) async fn call<T, F>(
        &self,
        name: &'static str,
        group: &GroupId,
        attempt: impl Fn(Client, wire::Target) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Verdict<T>>,
    {
        let started = self.0.clock.monotonic();
        let mut pause = FIRST_PAUSE;
        loop {
            let refused = match self.once(name, group, &attempt).await {
                Verdict::Done(answer) => return Ok(answer),
                Verdict::Unknown(reason) => return Err(CallError::Unknown(reason)),
                Verdict::Refused(Refused::Overloaded) => return Err(CallError::Overloaded),
                Verdict::Refused(refused) => refused,
            };
            if let Refused::WrongEpoch(current) = refused
                && self.0.routes.write().learn_epoch(group, current)
            {
                // At once: the server has just said how to be called. Epochs only rise, so this
                // comes to an end.
                continue;
            }
            let elapsed = self.0.clock.monotonic().saturating_sub(started);
            if elapsed >= self.0.options.repeat_for {
                return Err(CallError::Refused(format!("{group}: {refused:?}")));
            }
            task::sleep(pause).await;
            pause = LAST_PAUSE.min(pause * 2);
        }
    }

    /// The same for calls that may be carried out twice: they are repeated without an answer, too.
    pub(crate) async fn call_idempotent<T, F>(
        &self,
        name: &'static str,
        group: &GroupId,
        attempt: impl Fn(Client, wire::Target) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Verdict<T>>,
    {
        let attempt = |client, target| {
            let once = attempt(client, target);
            async move {
                match once.await {
                    Verdict::Unknown(reason) => Verdict::Refused(Refused::NotSent(reason)),
                    known => known,
                }
            }
        };
        self.call(name, group, attempt).await
    }

    /// The life of the group's writer, from its server: it refuses whoever names another one.
    pub(crate) async fn life(&self, group: &GroupId) -> Result<Epoch, CallError> {
        let attempt = |mut client: Client, target: wire::Target| async move {
            let life = Epoch(target.epoch);
            let request = wire::StatusRequest {
                target: Some(target),
                // Nobody's: that the question is taken is the answer.
                shard: convert::uid_bytes(0),
            };
            match Verdict::of(client.status(request).await) {
                Verdict::Done(_) => Verdict::Done(life),
                Verdict::Refused(refused) => Verdict::Refused(refused),
                Verdict::Unknown(reason) => Verdict::Unknown(reason),
            }
        };
        self.call_idempotent("Status", group, attempt).await
    }

    async fn once<T, F>(
        &self,
        name: &'static str,
        group: &GroupId,
        attempt: &impl Fn(Client, wire::Target) -> F,
    ) -> Verdict<T>
    where
        F: Future<Output = Verdict<T>>,
    {
        let Some(route) = self.0.routes.read().group(group) else {
            return Verdict::Refused(Refused::NotSent("no server is known for it".to_owned()));
        };
        let client = self.client(&route.server);
        let attempt = attempt(client, convert::target(group, route.epoch));
        let began = self.now();
        let verdict = match task::timeout(self.0.options.answer_within, attempt).await {
            Ok(verdict) => verdict,
            Err(_) => Verdict::Unknown(format!("{} did not answer in time", route.server)),
        };
        if let Some(meter) = self.0.meter.get() {
            meter.called(&Called {
                side: Side::Client,
                call: name,
                outcome: verdict.outcome(),
                elapsed: self.now().saturating_sub(began),
                bytes: 0,
            });
        }
        verdict
    }
}
