//! One replica of the operator: lease, contract, station and placements as they are, with the
//! simulated API server where Kubernetes is. Streams are looked at here, not watched.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use millstream_clock::{Clock, Entropy, task};
use millstream_control::attach::{
    Authenticator, Contract, ContractServer, PodIdentity, ReviewError, Session, SignError, Standby,
};
use millstream_control::coordinator::{Input, Phase};
use millstream_control::{
    CreateStreamError, DeleteStreamError, Identity, Role, Secret, StreamSpec, WantedStream,
};
use millstream_link::grpc::{self, ServeOptions};
use millstream_link::testkit::Claims;
use millstream_operator::contract::placements::Placements;
use millstream_operator::contract::station::Station;
use millstream_operator::lease::{Leadership, campaign};
use millstream_operator::metrics::Metrics;
use millstream_operator::pulse::Pulse;
use millstream_types::{Scope, StreamName, StreamUid};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::api_server::{ApiServer, CallError, Client, ConfigMaps, SimLease};
use crate::clock::{SimClock, entropy, mixed};
use crate::layout;
use crate::net::SimListener;
use crate::planted::{self, Planted};

/// How long the lease holds without renewal.
const LEASE: Duration = Duration::from_secs(4);
/// How often streams are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a leader waits for servers that do not attach.
const SETTLE: Duration = Duration::from_secs(10);
/// The chart's release, which stands on the placements.
const INSTANCE: &str = "sim";

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
        let clock: Arc<dyn Clock> = Arc::new(self.clock);
        let desk = Arc::new(Desk {
            station: Mutex::default(),
            client: Arc::clone(&client),
            clock: Arc::clone(&clock),
            planted: self.planted,
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
        let leadership = campaign(lease, Arc::clone(&clock), candidate, LEASE).await;
        let leader = Leader {
            desk,
            client,
            clock,
        };
        leader.lead(leadership).await;
        Ok(())
    }
}

/// What the contract's calls see of the replica.
struct Desk {
    /// While it leads.
    station: Mutex<Option<Station>>,
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
    planted: Planted,
    entropy: Arc<dyn Entropy>,
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
        self.station.lock().is_some()
    }

    fn attach(&self, session: Session) -> BoxFuture<'_, Result<(), Standby>> {
        async move {
            let station = self.station.lock().clone().ok_or(Standby)?;
            station.attach(match self.planted {
                Planted::StaleAccepted => planted::credulous(session, Arc::clone(&self.clock)),
                _ => session,
            });
            Ok(())
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

/// What a leader does: the operator's station and its writer of placements, with streams that are
/// looked at in place of watches and plans.
struct Leader {
    desk: Arc<Desk>,
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
}

impl Leader {
    /// Leads until the lease is lost: the process ends.
    async fn lead(self, mut leadership: Leadership<SimLease>) {
        let term = leadership.term();
        tokio::select! {
            biased;
            () = leadership.lost() => tracing::info!(term, "the lease is lost"),
            () = self.work(term) => {},
        }
        *self.desk.station.lock() = None;
    }

    async fn work(&self, term: u64) {
        let found = loop {
            let client = ConfigMaps::client(Arc::clone(&self.client));
            match Placements::read(client, INSTANCE, None, term).await {
                Ok(found) => break found,
                Err(failure) => tracing::info!(term, %failure, "the placements are not read"),
            }
        };
        let (clock, metrics) = (Arc::clone(&self.clock), Metrics::new());
        let (station, writes) = Station::new(term, SETTLE, found, clock, metrics, Pulse::default());
        station.handle(Input::Pools(vec![layout::pool_spec()]));
        station.handle(Input::Access(layout::access()));
        *self.desk.station.lock() = Some(station.clone());
        tokio::select! {
            biased;
            () = station.write(writes) => {},
            () = self.look(&station) => {},
        }
    }

    /// Tells the station of streams, and lets go of those that are gone, for ever.
    async fn look(&self, station: &Station) {
        let mut streams = Streams::default();
        loop {
            task::sleep(LOOK_EVERY).await;
            if let Some(input) = streams.look(&self.client).await {
                station.handle(input);
            }
            streams.finalize(&self.client, station).await;
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
    async fn finalize(&self, client: &Client, station: &Station) {
        for uid in &self.deleted {
            if station.stream(*uid).phase == Phase::Gone {
                // It is looked at again, whatever came of it.
                let (Ok(()) | Err(_)) = client.finalize_stream(*uid).await;
            }
        }
    }
}
