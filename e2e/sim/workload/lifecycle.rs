//! Makes and deletes streams through a gateway while everything else goes on.

use millstream_control::{ControlPlane as _, StreamSpec};
use millstream_stream::Status;
use millstream_types::StreamName;

use super::Client;
use crate::layout;

/// Streams that are there from the start to the end, and their shards.
const STANDING: [(&str, u64); 2] = [("orders", 5), ("clicks", 3)];
/// Names of streams that come and go: a name is used again and again.
const PASSING: [&str; 3] = ["audit", "trial", "night"];
/// Most shards of a stream that comes and goes.
const SHARDS_MAX: u64 = 4;

/// `makes_the_standing`: whether it is this client that makes the streams that stay.
pub(super) async fn run(client: Client, makes_the_standing: bool) {
    if makes_the_standing {
        for (name, shards) in STANDING {
            let name = name.parse().expect("a stream name");
            while client.pause(50, 100).await && !create(&client, &name, shards).await {}
        }
    }
    while client.pause(600, 3_000).await {
        let name = PASSING[client.dice.index(PASSING.len())];
        let name: StreamName = name.parse().expect("a stream name");
        let there = client.gate.streams.get(layout::scope(), &name);
        match there {
            Ok(stream) if stream.status() == Status::Active => delete(&client, &name).await,
            Ok(_) => {},
            Err(_) => {
                let shards = client.dice.between(1, SHARDS_MAX);
                create(&client, &name, shards).await;
            },
        }
    }
}

/// Asks for a stream; whether there is one of that name now.
async fn create(client: &Client, name: &StreamName, shards: u64) -> bool {
    if client.gate.streams.get(layout::scope(), name).is_ok() {
        return true;
    }
    let spec = StreamSpec {
        shard_count: Some(shards),
        ..StreamSpec::new(name.clone())
    };
    let created = client
        .gate
        .control
        .create_stream(layout::scope(), spec)
        .await;
    if created.is_ok() {
        client.history.changed_streams();
    }
    matches!(
        created,
        Ok(()) | Err(millstream_control::CreateStreamError::Exists(_))
    )
}

async fn delete(client: &Client, name: &StreamName) {
    let deleted = client
        .gate
        .control
        .delete_stream(layout::scope(), name)
        .await;
    if deleted.is_ok() {
        client.history.changed_streams();
    }
}
