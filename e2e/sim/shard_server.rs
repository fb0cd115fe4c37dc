//! One shard server: that of the program, over simulated storage.

use std::sync::Arc;

use millstream_control::Role;
use millstream_link::grpc;
use millstream_link::testkit::Claims;
use millstream_server::roles::shard::serve::{
    GroupStore as _, Server, open_streams, serve_options,
};

use crate::clock::mixed;
use crate::layout;
use crate::member::Life;
use crate::net::SimListener;
use crate::planted::{Meddling, Planted};
use crate::store::Volume;

/// What one life of a shard server is made of.
pub(crate) struct ShardServer {
    pub(crate) ordinal: u32,
    /// What is kept is on the same volume as the storage.
    pub(crate) life: Life,
    /// Its storage: outlives the process and moves with the pod.
    pub(crate) volume: Arc<Volume>,
    pub(crate) planted: Planted,
}

impl ShardServer {
    /// Opens the group and serves it until the machine ends or the storage is lost to a later life.
    pub(crate) async fn run(self) -> turmoil::Result {
        let life = &self.life;
        let name = layout::shard_server(self.ordinal);
        let me = layout::identity(Role::Shard, &name);
        let group = layout::group(self.ordinal);
        let seed = mixed(life.seed, &format!("{}/store", life.machine), life.life);
        let store = Arc::new(self.volume.open(seed, self.planted));
        let epoch = store.epoch();
        let clock = life.clock();
        let streams = open_streams(&store, &clock, &life.entropy())?;
        let membership = life.join(&me)?;
        let listener = SimListener::bind(&name, layout::RPC_PORT).await?;
        let server = Server::new(store, streams, group.clone(), membership, &clock);
        let service = Meddling::new(server.service(), group, epoch, self.planted);
        let serving = grpc::serve(
            Claims::new(listener, me),
            service,
            serve_options(),
            server.stopped(),
        );
        let _serving = server.begin(serving);
        let reason = server.work().await;
        tracing::info!(reason, "a shard server ends");
        Ok(())
    }
}
