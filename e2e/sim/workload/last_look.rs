//! Once everything has come to rest: a record into every shard through every gateway, and every
//! shard from its start to its end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millstream_clock::task;
use millstream_stream::{PutEntry, Shard, StartingPosition, Stream};
use millstream_types::StreamUid;

use super::{Client, consumer};
use crate::api_server::ApiServer;
use crate::history::Shown;
use crate::layout;

/// Attempts of a read and a put; everything is well by now, but connections may have to be opened.
const ATTEMPTS: usize = 20;
/// How often streams are looked at before they are said to be wrong.
const SETTLE_TRIES: usize = 60;
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn run(client: &Client, api: &ApiServer) {
    let mut tries = 0;
    loop {
        let (wanted, served) = (wanted(api), served(client));
        if wanted == served {
            break;
        }
        tries += 1;
        if tries == SETTLE_TRIES {
            let gateway = &client.gate.name;
            client.history.failed(format!(
                "{gateway} knows the streams {served:?}, there should be {wanted:?}"
            ));
            return;
        }
        task::sleep(PAUSE).await;
    }
    let streams = client.active();
    for stream in &streams {
        for shard in stream.map().shards() {
            put(client, stream, shard).await;
            read(client, stream, shard).await;
        }
    }
}

/// What should be there: every stream that nobody wants gone, serving.
fn wanted(api: &ApiServer) -> BTreeSet<(StreamUid, String)> {
    let streams = api.streams().into_iter();
    let state = |is_deleted| if is_deleted { "DELETING" } else { "ACTIVE" };
    streams
        .map(|(uid, is_deleted)| (uid, state(is_deleted).to_owned()))
        .collect()
}

/// What is there, as this gateway knows.
fn served(client: &Client) -> BTreeSet<(StreamUid, String)> {
    let streams = client.gate.streams.all();
    let each = streams.iter();
    each.map(|stream| (stream.uid(), stream.status().to_string()))
        .collect()
}

async fn put(client: &Client, stream: &Arc<Stream>, shard: &Shard) {
    for _ in 0..ATTEMPTS {
        let id = client.history.id();
        let append = client.history.sends(shard.uid, &[id]);
        let entry = PutEntry {
            partition_key: "last".parse().expect("a partition key"),
            explicit_hash_key: Some(shard.range.start),
            data: id.to_be_bytes().to_vec().into(),
        };
        let put = client
            .gate
            .streams
            .put_record(layout::scope(), stream.name(), entry, None);
        match put.await {
            Ok(output) => {
                let number = output.sequence_number.counter;
                client.history.acked(client.view, append, 1, number);
                return;
            },
            Err(_) => client.history.unknown(1),
        }
        task::sleep(PAUSE).await;
    }
    let (gateway, name, shard) = (&client.gate.name, stream.name(), shard.id);
    client.history.failed(format!(
        "no record can be put to {shard} of {name} through {gateway}"
    ));
}

/// Everything from the start of the shard to its end.
async fn read(client: &Client, stream: &Arc<Stream>, shard: &Shard) {
    for _ in 0..ATTEMPTS {
        let began = client.history.reads(client.view);
        if let Some(records) = everything(client, stream, shard).await {
            let next = records.last().map_or(1, |(number, _)| number + 1);
            let shown = Shown {
                shard: shard.uid,
                from: 1,
                records,
                tip: Some(next),
            };
            client.history.saw_at_the_end(client.view, began, shown);
            return;
        }
        task::sleep(PAUSE).await;
    }
    let (gateway, name, shard) = (&client.gate.name, stream.name(), shard.id);
    client.history.failed(format!(
        "{shard} of {name} cannot be read through {gateway}"
    ));
}

async fn everything(
    client: &Client,
    stream: &Arc<Stream>,
    shard: &Shard,
) -> Option<Vec<(u64, u64)>> {
    let (streams, scope) = (&client.gate.streams, layout::scope());
    let start = StartingPosition::TrimHorizon;
    let id = shard.id.to_string();
    let given = streams.iterator(scope, stream.name(), &id, start);
    let mut iterator = given.await.ok()?;
    let mut found = Vec::new();
    loop {
        let output = streams
            .get_records(scope, None, &iterator, None)
            .await
            .ok()?;
        found.extend(consumer::records(&output));
        if output.millis_behind_latest == 0 {
            return Some(found);
        }
        iterator = output.next_iterator?;
    }
}
