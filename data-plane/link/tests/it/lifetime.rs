//! Connections end with the certificates that stood for them, and calls do not suffer from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use millstream_clock::{ManualClock, SeededEntropy, task};
use millstream_link::authority::CERTIFICATE_LIFE;
use millstream_link::grpc::{Channel, ServeOptions, was_not_sent};
use millstream_link::lifetime::CONNECTION_LIFE_MAX;
use millstream_link::testkit::Pipes;
use millstream_link::tls::{Keys, TlsConnector, TlsListener};
use millstream_link::{ConnectError, Connection, Connector, Endpoint, Role};
use tokio::sync::watch;

use crate::bed::{NOW, address, ask, authority, call, channel, identity, serving};

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

/// Counts the connections that are opened.
struct Counted {
    tls: TlsConnector,
    opened: Arc<AtomicUsize>,
}

impl Connector for Counted {
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        async move {
            self.opened.fetch_add(1, Ordering::SeqCst);
            self.tls.connect(to).await
        }
        .boxed()
    }
}

/// A gateway and a shard server, each with its own clock.
struct Pair {
    gateway: Arc<ManualClock>,
    server: Arc<ManualClock>,
    channel: Channel,
    opened: Arc<AtomicUsize>,
    _stop: watch::Sender<bool>,
}

impl Pair {
    /// Their certificates are good for so long yet.
    fn with(certificate_ms: u64) -> Self {
        let authority = authority(1);
        let life = u64::try_from(CERTIFICATE_LIFE.as_millis()).expect("a week");
        let given = NOW.minus(life - certificate_ms);
        let keys = |role, name| {
            let clock = Arc::new(ManualClock::new(NOW));
            let shared: Arc<dyn millstream_clock::Clock> = Arc::<ManualClock>::clone(&clock);
            let keys = Keys::new(shared, authority.certificate_pem()).expect("a bundle");
            let pair = authority.issue(&identity(role, name), given, &SeededEntropy::new(2));
            let pair = pair.expect("a certificate");
            let installed = keys.install(&pair.certificate_pem, &pair.key_pem);
            installed.expect("a good certificate");
            (keys, clock)
        };
        let (server_keys, server) = keys(Role::Shard, "shard-0");
        let (gateway_keys, gateway) = keys(Role::Gateway, "gateway-x");
        let (pipes, at) = (Pipes::default(), address("shard-0:4569"));
        let listener = TlsListener::new(pipes.listen(&at), server_keys);
        let opened = Arc::new(AtomicUsize::new(0));
        let counted = Counted {
            tls: TlsConnector::new(Arc::new(pipes), gateway_keys),
            opened: Arc::clone(&opened),
        };
        Self {
            gateway,
            server,
            channel: channel(counted, &at),
            opened,
            _stop: serving(listener, ServeOptions::default()),
        }
    }

    /// Both clocks go on, and whoever waits for them has looked.
    async fn pass(&self, ms: u64) {
        self.gateway.advance(ms);
        self.server.advance(ms);
        task::sleep(Duration::from_secs(120)).await;
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_replaced_before_its_end_and_no_call_is_lost() {
    assert_eq!(CONNECTION_LIFE_MAX.as_millis(), u128::from(DAY));
    let pair = Pair::with(6 * DAY);
    for part in 0..32 {
        ask(&pair.channel).await.expect("an answer");
        let opened = pair.opened();
        match part {
            0..=27 => assert_eq!(opened, 1, "{part} of 32"),
            30.. => assert_eq!(opened, 2, "{part} of 32"),
            _ => {},
        }
        pair.pass(DAY / 32).await;
    }
    ask(&pair.channel).await.expect("over the second");
    assert_eq!(pair.opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_are_told_of_the_end_and_those_that_do_not_listen_are_cut() {
    for (life, end) in [(6 * DAY, DAY), (60 * MINUTE, 60 * MINUTE)] {
        let pair = Pair::with(life);
        let waits = task::spawn("waits", {
            let channel = pair.channel.clone();
            async move { call(&channel, "/wait").await }
        });
        let hangs = task::spawn("hangs", {
            let channel = pair.channel.clone();
            async move { call(&channel, "/hang").await }
        });
        task::sleep(Duration::from_secs(1)).await;
        pair.pass(end - 1000).await;
        assert!(!waits.is_finished() && !hangs.is_finished(), "too early");
        pair.pass(2000).await;
        assert!(waits.is_finished(), "the call has been told");
        waits.await.expect("it ends").expect("an answer");
        let cut = hangs.await.expect("it ends").expect_err("cut");
        assert!(!was_not_sent(&cut), "{cut:?}");
        assert_eq!(pair.opened(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_lets_go_of_a_server_that_never_ends_a_connection() {
    let pair = Pair::with(6 * DAY);
    let hangs = task::spawn("hangs", {
        let channel = pair.channel.clone();
        async move { call(&channel, "/hang").await }
    });
    task::sleep(Duration::from_secs(1)).await;
    // the server's clock stands still
    pair.gateway.advance(DAY + 2 * MINUTE);
    task::sleep(Duration::from_secs(120)).await;
    assert!(hangs.is_finished(), "cut by the client");
    hangs.await.expect("it ends").expect_err("cut");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_over_certificates_that_have_run_out() {
    let pair = Pair::with(60 * MINUTE);
    ask(&pair.channel).await.expect("an answer");
    pair.pass(60 * MINUTE).await;
    let late = ask(&pair.channel).await.expect_err("both have run out");
    assert!(was_not_sent(&late), "{late:?}");
}
