//! The way of an append from a gateway to a shard server: the real one, over TCP on loopback with
//! mutual TLS. Both ends are in this process, and the engine is the one that is measured beside it.

use std::sync::Arc;
use std::time::Duration;

use millstream_clock::{Clock, Entropy, SystemEntropy, task};
use millstream_link::authority::Authority;
use millstream_link::grpc::serve;
use millstream_link::tcp::{TcpConnector, TcpListener};
use millstream_link::tls::{Keys, TlsConnector, TlsListener};
use millstream_link::{Connector, Endpoint, Identity, Listener as _, Role};
use millstream_rpc::{Caller, Follower, Options, RemoteGroups, Routed, ShardService};
use millstream_storage::store::ShardLog as _;
use millstream_storage::volume::Engine;
use millstream_stream::{Home, NewStream, Settings, Spread, Streams, TokenKey};
use millstream_types::{Epoch, GroupId, Scope, ShardUid, StreamMode, StreamName, StreamUid};
use tokio::sync::watch;

use super::BenchError;
use super::in_process::{Target, nanos_between};
use super::report::Findings;
use super::sample::Percentiles;
use super::scenario::OVER_HOP;
use crate::roles::shard::serve::{open_streams, serve_options};

const NAMESPACE: &str = "bench";
const POOL: &str = "bench/default";
const STREAM: &str = "bench";
/// What the report calls the engine at the other end of the hop.
const NAME: &str = "hop";

/// A gateway's end, and the shard server that it calls.
pub(crate) struct Hop {
    pub(crate) target: Target,
    log: Routed,
    shards: Vec<ShardUid>,
    stop: watch::Sender<bool>,
}

impl Hop {
    /// Serves the engine of `target`, with a stream of as many shards as the widest scenario.
    pub(crate) async fn open(target: Target) -> Result<Self, BenchError> {
        let clock: Arc<dyn Clock> = target.clock.clone();
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let (store, epoch) = (Arc::new(target.engine.clone()), target.engine.epoch());
        let streams = open_streams(&store, &clock, &entropy).map_err(ended)?;
        let group = GroupId::new(NAMESPACE, "default", 0).map_err(ended)?;
        let people = People::new(Arc::clone(&clock))?;
        let service = ShardService::new(store, streams.clone(), group.clone(), Epoch(epoch));
        let listener = TcpListener::bind(&"127.0.0.1:0".parse().map_err(ended)?).await?;
        let address = listener.address();
        let server = people.identity(Role::Shard)?;
        let listener = TlsListener::new(listener, people.keys(&server)?);
        let (stop, stopped) = watch::channel(false);
        let serving = serve(listener, service.into_server(), serve_options(), stopped);
        drop(task::spawn("shards", serving));

        let groups = [(group.clone(), Endpoint::of(address, server.clone()))].into();
        let caller = |who: &Identity| -> Result<Caller, BenchError> {
            let connector = people.connector(who)?;
            let caller = Caller::new(Options::default(), connector, Arc::clone(&clock));
            caller.place(POOL, (1, 0), &groups);
            Ok(caller)
        };
        create(&streams, &group, caller(&server)?).await?;
        let caller = caller(&people.identity(Role::Gateway)?)?;
        let log = Routed::new(caller.clone());
        let copy = Streams::replica(
            Arc::new(log.clone()),
            millstream_stream::Options::default(),
            clock,
            entropy,
            &TokenKey::new([0; TokenKey::BYTES]),
        );
        let follower = Follower::new(copy.clone(), caller);
        let mut seen = follower.seen();
        let mut stopped = stop.subscribe();
        let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
        drop(task::spawn("follow", follower.run(until)));
        drop(seen.wait_for(|seen| seen.contains_key(&group)).await);
        let stream = copy.get(&scope()?, &name()?).map_err(ended)?;
        let shards = stream.map().shards().iter().map(|shard| shard.uid);
        Ok(Self {
            shards: shards.collect(),
            target,
            log,
            stop,
        })
    }

    /// Puts into the engine as it stands here, and at once over the hop.
    pub(crate) async fn round(
        &self,
        how_long: Duration,
        findings: &mut Findings,
    ) -> Result<(), BenchError> {
        let (target, shards) = (&self.target, &self.shards);
        for scenario in OVER_HOP {
            let here = target.measure_over(&target.engine, shards, scenario, how_long);
            let here = here.await?;
            let there = target.measure_over(&self.log, shards, scenario, how_long);
            let there = there.await?;
            findings.note(target.name, scenario, here);
            findings.note(NAME, scenario, there);
            let rate = there.records_per_s / here.records_per_s;
            let ratios = &mut findings.ratios;
            match scenario.in_flight {
                1 => {
                    let (here, there) = (here.ack_us.p50, there.ack_us.p50);
                    ratios.hop_ack_p50.push(there / here);
                    let bare = self.bare_call(how_long).await?.p50;
                    ratios.hop_ack_vs_bare_call.push(there / (here + bare));
                },
                16 => ratios.hop_16_clients.push(rate),
                _ => ratios.hop_128_clients.push(rate),
            }
        }
        Ok(())
    }

    /// Calls that nothing gathers and that wait for no disk, one after the other.
    async fn bare_call(&self, how_long: Duration) -> Result<Percentiles, BenchError> {
        let clock = &self.target.clock;
        let mut nanos = Vec::new();
        let mut now = clock.monotonic();
        let end = now + how_long;
        while now < end {
            let sent = now;
            self.log.status(self.shards[0]).await?;
            now = clock.monotonic();
            nanos.push(nanos_between(sent, now));
        }
        Ok(Percentiles::of(&mut nanos))
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Whoever signs the certificates of both ends.
struct People {
    authority: Authority,
    clock: Arc<dyn Clock>,
}

impl People {
    fn new(clock: Arc<dyn Clock>) -> Result<Self, BenchError> {
        let authority = Authority::generate(clock.now(), &SystemEntropy).map_err(ended)?;
        Ok(Self { authority, clock })
    }

    fn identity(&self, role: Role) -> Result<Identity, BenchError> {
        Identity::new(NAMESPACE, role, "bench-0").map_err(ended)
    }

    fn keys(&self, who: &Identity) -> Result<Keys, BenchError> {
        let now = self.clock.now();
        let pair = self.authority.issue(who, now, &SystemEntropy);
        let pair = pair.map_err(ended)?;
        let bundle = self.authority.certificate_pem();
        let keys = Keys::new(Arc::clone(&self.clock), bundle).map_err(ended)?;
        let installed = keys.install(&pair.certificate_pem, &pair.key_pem);
        installed.map_err(ended)?;
        Ok(keys)
    }

    fn connector(&self, who: &Identity) -> Result<Arc<dyn Connector>, BenchError> {
        let keys = self.keys(who)?;
        Ok(Arc::new(TlsConnector::new(Arc::new(TcpConnector), keys)))
    }
}

fn scope() -> Result<Scope, BenchError> {
    Ok(Scope {
        account: "000000000000".parse().map_err(ended)?,
        region: "local".parse().map_err(ended)?,
    })
}

fn name() -> Result<StreamName, BenchError> {
    STREAM.parse().map_err(ended)
}

/// Makes the stream, as its home does.
async fn create(
    streams: &Streams<Engine>,
    group: &GroupId,
    caller: Caller,
) -> Result<(), BenchError> {
    let widest = OVER_HOP.iter().map(|scenario| scenario.shards).max();
    let new = NewStream {
        name: name()?,
        mode: StreamMode::Provisioned,
        shard_count: widest.unwrap_or(1) as u64,
        settings: Settings::default(),
    };
    let spread = Spread {
        home: group.clone(),
        groups: [group.clone()].into(),
    };
    let uid = StreamUid(SystemEntropy.u128());
    let begun = streams.begin_create(uid, &scope()?, new, spread).await;
    begun.map_err(ended)?;
    let peers = Arc::new(RemoteGroups::new(caller));
    let mut home = Home::new(streams.clone(), group.clone(), peers);
    match home.pass().await.waiting {
        0 => Ok(()),
        _ => Err(ended("the stream could not be made")),
    }
}

fn ended(error: impl std::fmt::Display) -> BenchError {
    BenchError::Ended(format!("the hop: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_and_many_clients_put_over_the_hop_and_without_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let target = Target::cold(dir.path()).await.expect("an engine");
        let hop = Hop::open(target).await.expect("a server and its gateway");
        let mut findings = Findings::default();
        let round = hop.round(Duration::from_millis(200), &mut findings).await;
        round.expect("every client ends well");
        for scenario in OVER_HOP {
            for target in ["engine", NAME] {
                let sample = findings.newest(target, scenario).expect("a sample");
                assert!(sample.records_per_s > 0.0, "{target} {scenario:?}");
            }
        }
        assert_eq!(findings.ratios.hop_128_clients.len(), 1);
    }
}
