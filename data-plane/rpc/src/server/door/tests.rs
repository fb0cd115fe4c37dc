#![expect(
    clippy::disallowed_methods,
    reason = "the bodies of these tests are small"
)]

use std::sync::atomic::AtomicBool;

use futures::StreamExt as _;
use millstream_link::Identity;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::*;

const NAMESPACE: &str = "team-a";

/// Answers when it is let go, and notes that it was called.
#[derive(Clone)]
struct Slow {
    called: Arc<AtomicBool>,
    go: Arc<Semaphore>,
}

impl Slow {
    fn new() -> Self {
        Self {
            called: Arc::default(),
            go: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Service<Request<Body>> for Slow {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let slow = self.clone();
        async move {
            slow.called.store(true, Ordering::SeqCst);
            let whole = request.into_body().collect().await.expect("a body");
            let go = slow.go.acquire().await.expect("it stays open");
            drop(go);
            let mut response = Response::new(Body::new(Full::new(whole.to_bytes())));
            let refused = response.extensions_mut();
            refused.insert(WasRefused);
            Ok(response)
        }
        .boxed()
    }
}

type Counts = Vec<(&'static str, Outcome, usize)>;

#[derive(Clone, Default)]
struct Counted(Arc<Mutex<Counts>>);

impl Meter for Counted {
    fn called(&self, called: &Called) {
        assert_eq!(called.side, Side::Server);
        let counted = (called.call, called.outcome, called.bytes);
        self.0.lock().push(counted);
    }
}

fn request(call: &str, bytes: usize) -> Request<Full<Bytes>> {
    request_of(call, Full::new(Bytes::from(vec![7; bytes])))
}

fn request_of<B>(call: &str, body: B) -> Request<B> {
    let path = format!("/millstream.shards.v1.Shards/{call}");
    let gateway = Identity::new("millstream", Role::Gateway, "gw-0").expect("an identity");
    let request = Request::post(path).extension(PeerIdentity::Known(gateway));
    request.body(body).expect("a request")
}

async fn message(response: Response<Body>) -> Bytes {
    let whole = response.into_body().collect().await.expect("a body");
    let status = whole.trailers().expect("trailers").get(STATUS_HEADER);
    assert_eq!(status, Some(&HeaderValue::from_static("0")));
    whole.to_bytes().slice(PREFIX_BYTES..)
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_nothing_is_done() {
    let (slow, counted) = (Slow::new(), Counted::default());
    let clock = Arc::new(millstream_clock::SystemClock::new());
    let door = Door::new(slow.clone(), NAMESPACE).within(80);
    let mut door = door.metered(clock, Arc::new(counted.clone()));
    let mut first = door.call(request("Append", 60));
    assert!((&mut first).now_or_never().is_none(), "it waits");
    assert!(slow.called.swap(false, Ordering::SeqCst));

    let refused = door.call(request("Append", 20)).await.expect("an answer");
    assert!(!slow.called.load(Ordering::SeqCst));
    let reply = wire::AppendReply::decode(message(refused).await).expect("a reply");
    let Some(wire::append_reply::Outcome::Refused(refused)) = reply.outcome else {
        panic!("{reply:?}");
    };
    assert!(matches!(refused.reason, Some(Reason::Overloaded(_))));

    // some room is kept for what is no append
    let mut read = door.call(request("Read", 20));
    assert!((&mut read).now_or_never().is_none(), "it waits");
    assert!(slow.called.load(Ordering::SeqCst));

    slow.go.add_permits(1);
    let whole = first.await.expect("an answer").into_body().collect().await;
    assert_eq!(whole.expect("a body").to_bytes(), vec![7; 60]);
    read.await.expect("an answer");
    assert_eq!(door.room.held.load(Ordering::SeqCst), 0);
    door.call(request("Append", 70)).await.expect("an answer");
    let expected = [
        ("Append", Outcome::Overloaded, 20),
        ("Append", Outcome::Refused, 60),
        ("Read", Outcome::Refused, 20),
        ("Append", Outcome::Refused, 70),
    ];
    assert_eq!(*counted.0.lock(), expected);
}

#[tokio::test]
async fn the_refusal_is_read_in_the_reply_of_every_call() {
    use wire::catalogue_update::What;
    macro_rules! refused_in {
        ($reply:ident, $outcome:path) => {
            let reply = wire::$reply::decode(message(no_room("any")).await).expect("a reply");
            assert!(matches!(reply.outcome, Some($outcome(_))), "{reply:?}");
        };
    }
    refused_in!(AppendReply, wire::append_reply::Outcome::Refused);
    refused_in!(ReadReply, wire::read_reply::Outcome::Refused);
    refused_in!(NumberAtReply, wire::number_at_reply::Outcome::Refused);
    refused_in!(StatusReply, wire::status_reply::Outcome::Refused);
    refused_in!(OpenShardsReply, wire::open_shards_reply::Outcome::Refused);
    refused_in!(DropShardsReply, wire::drop_shards_reply::Outcome::Refused);
    let reply = wire::WaitPastReply::decode(message(no_room("any")).await).expect("a reply");
    assert!(reply.refused.is_some());
    let update = message(no_room("WatchCatalogue")).await;
    let update = wire::CatalogueUpdate::decode(update).expect("an update");
    assert!(matches!(update.what, Some(What::Refused(_))), "{update:?}");
}

#[tokio::test]
async fn a_request_that_is_too_large_is_not_held() {
    let slow = Slow::new();
    let mut door = Door::new(slow.clone(), NAMESPACE);
    let call = request("Append", MESSAGE_BYTES_MAX + PREFIX_BYTES + 1);
    let answer = door.call(call).await.expect("an answer");
    assert_ne!(answer.headers()[STATUS_HEADER], "0");
    assert!(!slow.called.load(Ordering::SeqCst));
    assert_eq!(door.room.held.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_come_in_gives_its_room_back() {
    let slow = Slow::new();
    let mut door = Door::new(slow.clone(), NAMESPACE);
    let begun = stream::iter([Ok::<_, Status>(Frame::data(Bytes::from_static(b"begun")))]);
    let body = StreamBody::new(begun.chain(stream::pending()));
    let mut call = door.call(request_of("Append", body));
    assert!((&mut call).now_or_never().is_none(), "it waits");
    assert_eq!(door.room.held.load(Ordering::SeqCst), 5);
    let answer = call.await.expect("an answer");
    assert_ne!(answer.headers()[STATUS_HEADER], "0");
    assert!(!slow.called.load(Ordering::SeqCst));
    assert_eq!(door.room.held.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_request_in_countless_parts_is_not_held() {
    for (part, is_held) in [(&b""[..], true), (b"x", false)] {
        let slow = Slow::new();
        slow.go.add_permits(1);
        let mut door = Door::new(slow.clone(), NAMESPACE);
        let part = move || Ok::<_, Status>(Frame::data(Bytes::from_static(part)));
        let body = StreamBody::new(stream::iter((0..=PARTS_MAX).map(move |_| part())));
        door.call(request_of("Append", body))
            .await
            .expect("an answer");
        assert_eq!(slow.called.load(Ordering::SeqCst), is_held);
        assert_eq!(door.room.held.load(Ordering::SeqCst), 0);
    }
}
