use bytes::Bytes;
use futures::FutureExt as _;
use http_body_util::StreamBody;
use hyper::body::Frame;
use millstream_clock::{Clock, SystemClock, SystemEntropy};
use millstream_link::{Identity, PeerIdentity};
use millstream_storage::Change as StoreChange;
use millstream_storage::memory::MemoryStore;
use millstream_stream::{Options, TokenKey};
use millstream_types::ShardUid;
use tonic::Code;
use tower_service::Service as _;

use super::*;

fn service() -> ShardService<MemoryStore> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock)));
    let key = TokenKey::new([7; 32]);
    let entropy = Arc::new(SystemEntropy);
    let streams = Streams::open(Arc::clone(&store), Options::default(), clock, entropy, &key);
    let group = GroupId::new("team-a", "default", 0).expect("a group");
    ShardService::new(store, streams.expect("no rows yet"), group, Epoch(1))
}

fn from<T>(caller: (&str, Role), message: T) -> Request<T> {
    let mut request = Request::new(message);
    let identity = Identity::new(caller.0, caller.1, "p-0").expect("an identity");
    request
        .extensions_mut()
        .insert(PeerIdentity::Known(identity));
    request
}

#[tokio::test]
async fn a_shard_server_of_another_namespace_may_nothing() {
    let service = service();
    for (caller, may) in [
        (Some(("millstream", Role::Gateway)), true),
        (Some(("team-a", Role::Shard)), true),
        (Some(("team-b", Role::Shard)), false),
        (Some(("team-a", Role::Operator)), false),
        (None, false),
    ] {
        for call in ["Append", "Read", "WatchCatalogue", "DropShards"] {
            let request = match caller {
                Some(caller) => from(caller, ()),
                None => Request::new(()),
            };
            let (_, extensions, ()) = request.into_parts();
            let path = format!("/millstream.shards.v1.Shards/{call}");
            // It never comes in whole: only who is let in is waited for.
            let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Status>>());
            let mut request = http::Request::post(path).body(body).expect("a request");
            *request.extensions_mut() = extensions;
            let answer = service.clone().into_server().call(request).now_or_never();
            assert_eq!(answer.is_none(), may, "{call} of {caller:?}");
        }
    }
}

#[tokio::test]
async fn each_part_of_an_append_is_answered_for_itself() {
    let service = service();
    let shard = ShardUid(7);
    let opened = service.store.apply(vec![StoreChange::OpenShard(shard)]);
    opened.await.expect("opened");
    let append = |shard: u128| wire::Append {
        shard: convert::uid_bytes(shard),
        records: vec![wire::NewRecord::default()],
    };
    let request = |parts: Vec<u32>| {
        let request = wire::AppendRequest {
            target: Some(convert::target(&service.group, service.epoch)),
            appends: vec![append(7), append(8), append(7)],
            parts,
        };
        from(("millstream", Role::Gateway), request)
    };
    for parts in [vec![], vec![3], vec![1, 1, 1], vec![2, 1], vec![1, 0, 2]] {
        let reply = service.append(request(parts.clone())).await;
        let Some(wire::append_reply::Outcome::Done(done)) =
            reply.expect("a reply").into_inner().outcome
        else {
            panic!("{parts:?}");
        };
        let results: Vec<_> = done.results.iter().map(convert::result_in).collect();
        assert_eq!(results.len(), 3, "{parts:?}");
        assert_eq!(results[1], Err(AppendError::NoShard), "{parts:?}");
        let numbers = [&results[0], &results[2]].map(|it| it.expect("durable").first);
        assert_eq!(numbers[0] + 1, numbers[1], "{parts:?}: in their order");
    }
    for parts in [vec![2], vec![3, 1], vec![u32::MAX, 4], vec![0; 1000]] {
        let refused = service.append(request(parts)).await;
        assert_eq!(
            refused.expect_err("malformed").code(),
            Code::InvalidArgument
        );
    }
}
