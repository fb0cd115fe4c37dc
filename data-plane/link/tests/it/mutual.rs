//! Mutual TLS: who gets in, and when.

use std::sync::Arc;
use std::time::Duration;

use millstream_clock::{Clock as _, ManualClock, SeededEntropy};
use millstream_link::authority::{Authority, CERTIFICATE_LIFE, Request};
use millstream_link::grpc::{ServeOptions, was_not_sent};
use millstream_link::testkit::Pipes;
use millstream_link::tls::{Keys, KeysError, TlsConnector, TlsListener};
use millstream_link::{Address, Identity, Role};
use tokio::sync::watch;

use crate::bed::{NOW, address, ask, authority, channel, identity, serving};

struct Bed {
    clock: Arc<ManualClock>,
    pipes: Pipes,
    authority: Authority,
    at: Address,
    server: Keys,
    stop: watch::Sender<bool>,
}

impl Bed {
    /// A shard server that lets in who shows a certificate of its authority.
    fn new() -> Self {
        Self::with(false, ServeOptions::default())
    }

    fn with(anonymous_too: bool, options: ServeOptions) -> Self {
        let (clock, pipes) = (Arc::new(ManualClock::new(NOW)), Pipes::default());
        let authority = authority(1);
        let at = address("shard-0:4569");
        let server = keys(&clock, &authority);
        install(
            &server,
            &authority,
            &clock,
            &identity(Role::Shard, "shard-0"),
        );
        let listener = pipes.listen(&at);
        let stop = if anonymous_too {
            serving(
                TlsListener::anonymous_too(listener, server.clone()),
                options,
            )
        } else {
            serving(TlsListener::new(listener, server.clone()), options)
        };
        Self {
            clock,
            pipes,
            authority,
            at,
            server,
            stop,
        }
    }

    fn client(&self) -> Keys {
        let keys = keys(&self.clock, &self.authority);
        install(
            &keys,
            &self.authority,
            &self.clock,
            &identity(Role::Gateway, "gateway-x"),
        );
        keys
    }

    fn connector(&self, keys: &Keys) -> TlsConnector {
        TlsConnector::new(Arc::new(self.pipes.clone()), keys.clone(), Role::Shard)
    }
}

fn life_ms() -> u64 {
    u64::try_from(CERTIFICATE_LIFE.as_millis()).expect("a week")
}

fn keys(clock: &Arc<ManualClock>, authority: &Authority) -> Keys {
    let clock: Arc<dyn millstream_clock::Clock> = Arc::<ManualClock>::clone(clock);
    Keys::new(clock, authority.certificate_pem()).expect("a bundle")
}

fn install(keys: &Keys, authority: &Authority, clock: &ManualClock, who: &Identity) {
    let pair = authority
        .issue(who, clock.now(), &SeededEntropy::new(2))
        .expect("a certificate");
    keys.install(&pair.certificate_pem, &pair.key_pem)
        .expect("a good certificate");
}

#[tokio::test]
async fn both_sides_know_each_other_by_the_uri() {
    let bed = Bed::new();
    let channel = channel(bed.connector(&bed.client()), &bed.at);
    assert_eq!(
        ask(&channel).await.expect("an answer"),
        "millstream://team-a/gateway/gateway-x"
    );
    bed.stop.send_replace(true);
}

#[tokio::test]
async fn a_server_of_another_role_is_not_called() {
    let bed = Bed::new();
    let tls = TlsConnector::new(Arc::new(bed.pipes.clone()), bed.client(), Role::Operator);
    let status = ask(&channel(tls, &bed.at))
        .await
        .expect_err("a shard is no operator");
    assert!(was_not_sent(&status), "{status:?}");
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_called_and_its_clients_are_not_let_in() {
    let bed = Bed::new();
    let stranger = authority(9);
    let theirs = keys(&bed.clock, &stranger);
    install(
        &theirs,
        &stranger,
        &bed.clock,
        &identity(Role::Gateway, "gateway-x"),
    );
    let status = ask(&channel(bed.connector(&theirs), &bed.at)).await;
    assert!(was_not_sent(&status.expect_err("another bundle")));

    // it trusts our server, and our server does not trust it
    theirs
        .set_bundle(bed.authority.certificate_pem())
        .expect("a bundle");
    let answer = ask(&channel(bed.connector(&theirs), &bed.at)).await;
    answer.expect_err("a certificate of another authority");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_a_renewed_one_is_used_without_a_restart() {
    let bed = Bed::new();
    let client = bed.client();
    bed.clock.advance(life_ms() + 1000);
    install(
        &bed.server,
        &bed.authority,
        &bed.clock,
        &identity(Role::Shard, "shard-0"),
    );
    ask(&channel(bed.connector(&client), &bed.at))
        .await
        .expect_err("the client's certificate has expired");

    install(
        &client,
        &bed.authority,
        &bed.clock,
        &identity(Role::Gateway, "gateway-x"),
    );
    ask(&channel(bed.connector(&client), &bed.at))
        .await
        .expect("renewed");

    bed.clock.advance(life_ms() - 1000);
    install(
        &client,
        &bed.authority,
        &bed.clock,
        &identity(Role::Gateway, "gateway-x"),
    );
    ask(&channel(bed.connector(&client), &bed.at))
        .await
        .expect("the server's is good for a second yet");
    bed.clock.advance(2000);
    let late = ask(&channel(bed.connector(&client), &bed.at)).await;
    assert!(was_not_sent(&late.expect_err("the server's has expired")));
}

#[tokio::test]
async fn an_authority_is_replaced_while_both_are_in_the_bundle() {
    let bed = Bed::new();
    let client = bed.client();
    let next = authority(2);
    let both = format!(
        "{}{}",
        bed.authority.certificate_pem(),
        next.certificate_pem()
    );
    let answers = async |what: &str| {
        let answer = ask(&channel(bed.connector(&client), &bed.at)).await;
        answer.unwrap_or_else(|status| panic!("{what}: {status:?}"));
    };
    // one after the other, in the order that hurts nobody
    client.set_bundle(&both).expect("two authorities");
    answers("the client trusts both").await;
    bed.server.set_bundle(&both).expect("two authorities");
    install(
        &client,
        &next,
        &bed.clock,
        &identity(Role::Gateway, "gateway-x"),
    );
    answers("the client has a certificate of the new one").await;
    install(
        &bed.server,
        &next,
        &bed.clock,
        &identity(Role::Shard, "shard-0"),
    );
    answers("so has the server").await;
    client.set_bundle(next.certificate_pem()).expect("one");
    bed.server.set_bundle(next.certificate_pem()).expect("one");
    answers("the old one is forgotten").await;

    let late = bed.client();
    ask(&channel(bed.connector(&late), &bed.at))
        .await
        .expect_err("a certificate of the old authority");
}

#[tokio::test]
async fn the_anonymous_get_in_only_where_they_may() {
    let open = Bed::with(true, ServeOptions::default());
    let anonymous = |bed: &Bed| {
        let keys = keys(&bed.clock, &bed.authority);
        TlsConnector::anonymous(Arc::new(bed.pipes.clone()), keys, Role::Shard)
    };
    let answer = ask(&channel(anonymous(&open), &open.at)).await;
    assert_eq!(answer.expect("an answer"), "anonymous");
    let answer = ask(&channel(open.connector(&open.client()), &open.at)).await;
    assert_eq!(
        answer.expect("an answer"),
        "millstream://team-a/gateway/gateway-x"
    );

    let closed = Bed::new();
    ask(&channel(anonymous(&closed), &closed.at))
        .await
        .expect_err("no certificate");
}

#[tokio::test]
async fn a_role_that_may_not_connect_is_refused() {
    let options = ServeOptions {
        roles: vec![Role::Operator],
        ..ServeOptions::default()
    };
    let bed = Bed::with(false, options);
    ask(&channel(bed.connector(&bed.client()), &bed.at))
        .await
        .expect_err("a gateway");
}

#[tokio::test]
async fn without_a_certificate_nothing_is_sent() {
    let bed = Bed::new();
    let bare = keys(&bed.clock, &bed.authority);
    let status = ask(&channel(bed.connector(&bare), &bed.at)).await;
    assert!(was_not_sent(&status.expect_err("no certificate yet")));
}

#[test]
fn of_a_request_only_the_key_is_taken() {
    let authority = authority(1);
    let clock = Arc::new(ManualClock::new(NOW));
    let request = Request::new().expect("a key");
    let who = identity(Role::Shard, "shard-7");
    let certificate = authority
        .sign(&request.request_pem, &who, NOW, &SeededEntropy::new(3))
        .expect("a certificate");
    let keys = keys(&clock, &authority);
    keys.install(&certificate, &request.key_pem)
        .expect("a pair");
    let facts = keys.certificate().expect("installed");
    assert_eq!(facts.identity, who);
    assert_eq!(facts.not_after, NOW.plus(life_ms()));

    // the request is signed by its key: a changed one is refused
    let body = request.request_pem.find("\nMI").expect("DER in base64") + 40;
    let mut changed = request.request_pem;
    let other = if changed.as_bytes()[body] == b'A' {
        "B"
    } else {
        "A"
    };
    changed.replace_range(body..=body, other);
    for bad in ["", "no pem", changed.as_str(), authority.certificate_pem()] {
        let answer = authority.sign(bad, &who, NOW, &SeededEntropy::new(3));
        assert!(answer.is_err(), "{bad}");
    }
}

#[test]
fn a_certificate_is_due_after_a_third_of_its_life() {
    let (authority, clock) = (authority(1), Arc::new(ManualClock::new(NOW)));
    let keys = keys(&clock, &authority);
    assert!(keys.renewal_due(), "there is none");
    install(&keys, &authority, &clock, &identity(Role::Shard, "shard-0"));
    assert!(!keys.renewal_due());
    let third = CERTIFICATE_LIFE / 3 + Duration::from_secs(300);
    clock.advance(u64::try_from(third.as_millis()).expect("days"));
    assert!(keys.renewal_due());
}

#[test]
fn what_cannot_be_used_leaves_the_old_in_place() {
    let (authority, clock) = (authority(1), Arc::new(ManualClock::new(NOW)));
    let keys = keys(&clock, &authority);
    let who = identity(Role::Shard, "shard-0");
    install(&keys, &authority, &clock, &who);
    let before = keys.certificate();
    let issue = |at| {
        authority
            .issue(&who, at, &SeededEntropy::new(4))
            .expect("a pair")
    };
    let (good, other) = (issue(NOW), issue(NOW));
    let refused = keys.install(&good.certificate_pem, &other.key_pem);
    assert!(matches!(refused, Err(KeysError::Mismatch)), "{refused:?}");
    let old = issue(NOW.minus(life_ms()));
    let refused = keys.install(&old.certificate_pem, &old.key_pem);
    assert!(
        matches!(refused, Err(KeysError::OutOfDate { .. })),
        "{refused:?}"
    );
    assert!(
        keys.install(authority.certificate_pem(), &good.key_pem)
            .is_err()
    );
    assert!(keys.set_bundle("nothing").is_err());
    assert_eq!(keys.certificate(), before);
}

#[test]
fn no_key_is_shown() {
    let authority = authority(1);
    let clock = Arc::new(ManualClock::new(NOW));
    let keys = keys(&clock, &authority);
    install(&keys, &authority, &clock, &identity(Role::Shard, "shard-0"));
    let request = Request::new().expect("a key");
    let shown = format!("{authority:?} {:?} {keys:?} {request:?}", authority.pair());
    assert!(!shown.contains("PRIVATE"), "{shown}");
}
