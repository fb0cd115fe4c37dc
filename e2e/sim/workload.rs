//! The clients: producers and consumers behind each gateway, and one that makes and deletes
//! streams. They repeat requests as an SDK does: each attempt is a record of its own.

mod consumer;
mod last_look;
mod lifecycle;
mod producer;

use std::sync::Arc;
use std::time::Duration;

use millstream_clock::task;
use millstream_rpc::Routed;
use millstream_server::roles::gateway::WaitingControl;
use millstream_storage::testkit::dice::Dice;
use millstream_stream::{Status, Stream, Streams};
use parking_lot::Mutex;

use crate::api_server::ApiServer;
use crate::clock::mixed;
use crate::history::{History, View};
use crate::layout;

/// Producers behind each gateway.
const PRODUCERS: u64 = 3;
/// Consumers behind each gateway.
const CONSUMERS: u64 = 1;
/// How often the stage is looked at.
const STAGE_PAUSE: Duration = Duration::from_millis(100);

/// What a simulation is about at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Clients work, whatever happens.
    Work,
    /// No client works any more; everything comes to rest.
    Rest,
    /// Every gateway shows everything once more.
    LastLook,
}

/// What all clients share. Clones share it.
#[derive(Clone)]
pub(crate) struct Workload {
    pub(crate) seed: u64,
    pub(crate) history: History,
    pub(crate) api: ApiServer,
    pub(crate) stage: Arc<Mutex<Stage>>,
    /// Gateways that have finished their last look.
    pub(crate) finished: Arc<Mutex<Vec<String>>>,
}

/// A gateway, as its clients reach it.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) name: String,
    pub(crate) life: u64,
    pub(crate) streams: Streams<Routed>,
    pub(crate) control: Arc<WaitingControl>,
}

/// One client.
struct Client {
    gate: Gate,
    view: View,
    history: History,
    stage: Arc<Mutex<Stage>>,
    dice: Dice,
}

impl Client {
    /// The streams that take and give records.
    fn active(&self) -> Vec<Arc<Stream>> {
        let mut streams = self.gate.streams.all();
        streams.retain(|stream| stream.status() == Status::Active);
        for stream in &streams {
            let shards = stream.map().shards().iter();
            self.history
                .knows(stream.uid(), shards.map(|shard| shard.uid));
        }
        streams
    }

    /// Waits for a moment; false when work is over.
    async fn pause(&self, low_ms: u64, high_ms: u64) -> bool {
        task::sleep(Duration::from_millis(self.dice.between(low_ms, high_ms))).await;
        *self.stage.lock() == Stage::Work
    }
}

impl Workload {
    pub(crate) fn new(seed: u64, api: ApiServer, history: History) -> Self {
        Self {
            seed,
            history,
            api,
            stage: Arc::new(Mutex::new(Stage::Work)),
            finished: Arc::default(),
        }
    }

    /// The clients of one life of a gateway; never ends.
    pub(crate) async fn run(self, gate: Gate) {
        let view = self.history.view();
        let client = |kind: &str, index: u64| Client {
            gate: gate.clone(),
            view,
            history: self.history.clone(),
            stage: Arc::clone(&self.stage),
            dice: Dice::new(mixed(
                self.seed,
                &format!("{}/{kind}/{index}", gate.name),
                gate.life,
            )),
        };
        for index in 0..PRODUCERS {
            let producer = client("producer", index);
            drop(task::spawn("sim producer", producer::run(producer)));
        }
        for index in 0..CONSUMERS {
            let consumer = client("consumer", index);
            drop(task::spawn("sim consumer", consumer::run(consumer)));
        }
        drop(task::spawn(
            "sim lifecycle",
            lifecycle::run(client("lifecycle", 0), gate.name == layout::gateway(0)),
        ));
        while *self.stage.lock() != Stage::LastLook {
            task::sleep(STAGE_PAUSE).await;
        }
        last_look::run(&client("last", 0), &self.api).await;
        self.finished.lock().push(gate.name.clone());
        std::future::pending::<()>().await;
    }
}
