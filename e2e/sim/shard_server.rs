//! One shard server: the shard service, the home of its streams and the attachment as they are,
//! over simulated storage.

mod duties;

use std::sync::Arc;

use millstream_clock::{Clock, task};
use millstream_control::attach::{AttachOptions, AttachService};
use millstream_control::{Keeper, MemoryStore, ObservedState, Role};
use millstream_link::Resolver;
use millstream_link::grpc::{self, ServeOptions};
use millstream_link::testkit::{Claim, Claims};
use millstream_rpc::{Caller, RemoteGroups, ShardService};
use millstream_stream::{Home, Streams, TokenKey};
use tokio::sync::watch;

use crate::clock::{SimClock, entropy, mixed};
use crate::layout;
use crate::net::{Names, SimConnector, SimListener};
use crate::planted::{Meddling, Planted};
use crate::store::Volume;

use duties::Duties;

/// What one life of a shard server is made of.
pub(crate) struct ShardServer {
    pub(crate) ordinal: u32,
    pub(crate) machine: String,
    pub(crate) seed: u64,
    pub(crate) life: u64,
    pub(crate) clock: SimClock,
    pub(crate) names: Names,
    /// Its storage: outlives the process and moves with the pod.
    pub(crate) volume: Arc<Volume>,
    /// Its kept desired state, on the same volume.
    pub(crate) kept: MemoryStore,
    pub(crate) planted: Planted,
}

impl ShardServer {
    /// Opens the group and serves it until the machine ends or the storage is lost to a later life.
    pub(crate) async fn run(self) -> turmoil::Result {
        let name = layout::shard_server(self.ordinal);
        let me = layout::identity(Role::Shard, &name);
        let group = layout::group(self.ordinal);
        let clock: Arc<dyn Clock> = Arc::new(self.clock);
        let entropy = entropy(self.seed, &self.machine, self.life);
        let store_seed = mixed(self.seed, &format!("{}/store", self.machine), self.life);
        let store = Arc::new(self.volume.open(store_seed, self.planted));
        let epoch = store.epoch();
        let streams = Streams::open(
            Arc::clone(&store),
            millstream_stream::Options {
                account_shards_max: 1_000,
            },
            Arc::clone(&clock),
            Arc::clone(&entropy),
            &TokenKey::new([7; 32]),
        )?;
        let net = SimConnector::new(&self.machine, self.names.clone());
        let claim = || Arc::new(Claim::new(net.clone(), Some(me.clone())));
        let caller = Caller::new(
            millstream_rpc::Options::default(),
            claim(),
            Arc::clone(&clock),
        );
        let home = Home::new(
            streams.clone(),
            group.clone(),
            Arc::new(RemoteGroups::new(caller.clone())),
        );
        drop(task::spawn("sim home", home.run(std::future::pending())));

        let service = ShardService::new(Arc::clone(&store), streams.clone(), group.clone(), epoch);
        let service = Meddling::new(service.into_server(), group.clone(), epoch, self.planted);
        let listener = SimListener::bind(&name, layout::RPC_PORT).await?;
        let (_stop, stopped) = watch::channel(false);
        drop(task::spawn(
            "sim shards",
            grpc::serve(
                Claims::new(listener, me.clone()),
                service,
                ServeOptions::default(),
                stopped.clone(),
            ),
        ));

        let keeper = Keeper::open(me.clone(), Box::new(self.kept))?;
        let (report, observed) = watch::channel(ObservedState::starting(me.clone()));
        let options = AttachOptions {
            operator: layout::address(layout::OPERATOR_SERVICE, layout::CONTRACT_PORT),
            expected: layout::operators(),
            resolver: Arc::new(net.clone()) as Arc<dyn Resolver>,
            connector: claim(),
            entropy,
        };
        let (attach, handle) = AttachService::new(options, keeper, observed);
        drop(task::spawn("sim attach", attach.run(stopped)));
        let duties = Duties {
            me,
            group,
            epoch,
            streams,
            caller,
            desired: handle.desired(),
            report,
        };
        tokio::select! {
            biased;
            () = store.fenced() => Ok(()),
            () = duties.run() => Ok(()),
        }
    }
}
