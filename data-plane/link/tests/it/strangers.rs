//! Those who do not say who they are: few, cut when others come, and not for long.

use std::time::Duration;

use millstream_clock::task;
use millstream_link::grpc::ServeOptions;
use millstream_link::testkit::{Claim, Claims, Pipes};
use millstream_link::{Address, BoxIo, Connector as _, Endpoint, Role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use crate::bed::{address, ask, call, channel, identity, serving};

const STRANGERS_MAX: usize = 3;

struct Bed {
    pipes: Pipes,
    at: Address,
    _stop: watch::Sender<bool>,
}

impl Bed {
    /// A shard server with few places of either kind.
    fn new() -> Self {
        let (pipes, at) = (Pipes::default(), address("shard-0:4569"));
        let listener = Claims::new(pipes.listen(&at), identity(Role::Shard, "shard-0"));
        let options = ServeOptions {
            connections_max: 2,
            strangers_max: STRANGERS_MAX,
            ..ServeOptions::default()
        };
        let stop = serving(listener, options);
        Self {
            pipes,
            at,
            _stop: stop,
        }
    }

    /// A connection that says so much of a handshake and nothing more.
    async fn says(&self, start: &str) -> BoxIo {
        let to = Endpoint::of(self.at.clone(), identity(Role::Shard, "shard-0"));
        let open = self.pipes.connect(&to).await.expect("a listener");
        let mut io = open.io;
        io.write_all(start.as_bytes()).await.expect("a pipe");
        io
    }

    async fn ask_as(&self, who: &str) -> String {
        let claim = Claim::new(self.pipes.clone(), Some(identity(Role::Gateway, who)));
        let heard = ask(&channel(claim, &self.at)).await;
        heard.expect("an answer")
    }
}

/// What comes until the other side has cut the connection.
async fn until_cut(io: &mut BoxIo) {
    let mut heard = Vec::new();
    let read = task::timeout(Duration::from_secs(4), io.read_to_end(&mut heard)).await;
    let read = read.expect("the connection is cut");
    read.expect("the end of a pipe");
}

#[tokio::test(start_paused = true)]
async fn however_many_say_nothing_who_is_known_is_served() {
    let bed = Bed::new();
    let mut silent = Vec::new();
    for _ in 0..4 * STRANGERS_MAX {
        silent.push(bed.says("").await);
    }
    let known = identity(Role::Gateway, "gateway-x").to_string();
    assert_eq!(bed.ask_as("gateway-x").await, known);
}

#[tokio::test(start_paused = true)]
async fn however_many_are_anonymous_who_is_known_is_served() {
    let bed = Bed::new();
    let mut anonymous = Vec::new();
    for _ in 0..4 * STRANGERS_MAX {
        let channel = channel(Claim::new(bed.pipes.clone(), None), &bed.at);
        assert_eq!(ask(&channel).await.expect("an answer"), "anonymous");
        anonymous.push(channel);
    }
    let known = identity(Role::Gateway, "gateway-x").to_string();
    assert_eq!(bed.ask_as("gateway-x").await, known);
}

#[tokio::test(start_paused = true)]
async fn the_stranger_who_came_first_goes_when_others_come() {
    let bed = Bed::new();
    let mut first = bed.says("-\n").await;
    let mut silent = Vec::new();
    for _ in 0..STRANGERS_MAX {
        silent.push(bed.says("").await);
    }
    until_cut(&mut first).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_known_is_not_cut_by_strangers() {
    let bed = Bed::new();
    let claim = Claim::new(
        bed.pipes.clone(),
        Some(identity(Role::Gateway, "gateway-x")),
    );
    let known = channel(claim, &bed.at);
    ask(&known).await.expect("an answer");
    let hanging = call(&known, "/hang");
    let crowd = async {
        for _ in 0..4 * STRANGERS_MAX {
            drop(bed.says("").await);
        }
        task::sleep(4 * ServeOptions::default().stranger_timeout).await;
    };
    tokio::select! {
        biased;
        answer = hanging => panic!("the connection was cut: {answer:?}"),
        () = crowd => {},
    }
}

#[tokio::test(start_paused = true)]
async fn a_stranger_does_not_stay() {
    let bed = Bed::new();
    let anonymous = channel(Claim::new(bed.pipes.clone(), None), &bed.at);
    // answered once the connection should end
    let waiting = task::timeout(Duration::from_secs(60), call(&anonymous, "/wait"));
    let answer = waiting.await.expect("it ends by itself");
    assert_eq!(answer.expect("an answer"), "anonymous");
}
