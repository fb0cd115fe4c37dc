//! Mutual TLS: who gets in, and when.

use std::sync::Arc;
use std::time::Duration;

use millstream_clock::{Clock as _, ManualClock, SeededEntropy};
use millstream_link::authority::{Authority, CERTIFICATE_LIFE, Request};
use millstream_link::grpc::{Channel, ServeOptions, was_not_sent};
use millstream_link::tcp::{TcpConnector, TcpListener};
use millstream_link::testkit::Pipes;
use millstream_link::tls::{Keys, KeysError, TlsConnector, TlsListener};
use millstream_link::{
    Address, ConnectError, Connector as _, Endpoint, Expected, Identity, Listener as _, Role,
};
use tokio::sync::watch;
use tonic::Status;

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
        install(&server, &authority, &clock, &shard());
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
        self.keys_of(&self.authority, &gateway())
    }

    /// Keys of a process with a certificate of `authority`, which trust ours.
    fn keys_of(&self, authority: &Authority, who: &Identity) -> Keys {
        let keys = keys(&self.clock, &self.authority);
        install(&keys, authority, &self.clock, who);
        keys
    }

    fn connector(&self, keys: &Keys) -> TlsConnector {
        TlsConnector::new(Arc::new(self.pipes.clone()), keys.clone())
    }

    /// Without a certificate.
    fn anonymous(&self) -> TlsConnector {
        let keys = keys(&self.clock, &self.authority);
        TlsConnector::anonymous(Arc::new(self.pipes.clone()), keys)
    }

    /// Who the server says that we are.
    async fn ask(&self, keys: &Keys) -> Result<String, Status> {
        ask(&channel(self.connector(keys), &self.at)).await
    }
}

fn gateway() -> Identity {
    identity(Role::Gateway, "gateway-x")
}

fn shard() -> Identity {
    identity(Role::Shard, "shard-0")
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

fn any_of(namespace: &str, role: Role) -> Expected {
    Expected::AnyOf {
        namespace: namespace.to_owned(),
        role,
    }
}

#[tokio::test]
async fn only_who_is_expected_is_called() {
    let bed = Bed::new();
    let another = |namespace, role, name| {
        let identity = Identity::new(namespace, role, name);
        Expected::Process(identity.expect("an identity"))
    };
    for (expected, is_it) in [
        (Expected::Process(shard()), true),
        (any_of("team-a", Role::Shard), true),
        (another("team-b", Role::Shard, "shard-0"), false),
        (another("team-a", Role::Shard, "shard-1"), false),
        (another("team-a", Role::Operator, "shard-0"), false),
        (any_of("team-b", Role::Shard), false),
        (any_of("team-a", Role::Operator), false),
    ] {
        let endpoint = Endpoint::new(bed.at.clone(), expected.clone());
        let tls = bed.connector(&bed.client());
        let Err(error) = tls.connect(&endpoint).await.map(drop) else {
            assert!(is_it, "{expected} was called");
            continue;
        };
        assert!(!is_it, "{expected}: {error}");
        let ConnectError::Untrusted { reason, .. } = &error else {
            panic!("{expected}: {error}");
        };
        for named in [shard().to_string(), expected.to_string()] {
            assert!(reason.contains(&named), "{reason} names {named}");
        }
        let status = ask(&Channel::new(Arc::new(tls), endpoint)).await;
        assert!(was_not_sent(&status.expect_err("another")), "{expected}");
    }
}

#[tokio::test]
async fn an_address_that_is_an_ip_is_as_good_as_a_name() {
    let bed = Bed::new();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(socket) = TcpListener::bind(&address.parse().expect("an address")).await else {
            assert!(address.starts_with('['), "this machine has IPv4");
            continue;
        };
        let at = socket.address();
        let listener = TlsListener::new(socket, bed.server.clone());
        let _stop = serving(listener, ServeOptions::default());
        let tls = TlsConnector::new(Arc::new(TcpConnector), bed.client());
        let answer = ask(&channel(tls.clone(), &at)).await;
        assert_eq!(answer.expect("an answer"), gateway().to_string());
        let other = Endpoint::of(at, identity(Role::Shard, "shard-1"));
        let status = ask(&Channel::new(Arc::new(tls), other)).await;
        assert!(was_not_sent(&status.expect_err("another")), "{address}");
    }
}

/// What a caller hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// An answer to this name.
    Known,
    /// An answer to nobody.
    Anonymous,
    /// Nothing, and it knows that nothing was sent.
    NotSent,
    /// Nothing.
    Nothing,
}

impl Heard {
    /// A refusal by the server may come before or after the request has left: whether nothing was
    /// sent is only asked for where it is certain. None: it is taken for another.
    fn of(answer: Result<String, Status>, certainly: bool) -> Option<Self> {
        match answer {
            Ok(name) if name == gateway().to_string() => Some(Self::Known),
            Ok(name) if name == "anonymous" => Some(Self::Anonymous),
            Ok(_) => None,
            Err(status) if certainly && was_not_sent(&status) => Some(Self::NotSent),
            Err(_) => Some(Self::Nothing),
        }
    }
}

#[tokio::test]
async fn who_is_let_in() {
    let operators_only = ServeOptions {
        roles: vec![Role::Operator],
        ..ServeOptions::default()
    };
    let closed = Bed::new();
    let open = Bed::with(true, ServeOptions::default());
    let narrow = Bed::with(false, operators_only);
    let stranger = authority(9);
    // it trusts our server, and our server does not trust it
    let foreign = |bed: &Bed| bed.keys_of(&stranger, &gateway());
    // nor does it trust our server
    let suspicious = foreign(&closed);
    suspicious
        .set_bundle(stranger.certificate_pem())
        .expect("a bundle");
    let bare = keys(&closed.clock, &closed.authority);
    for (what, bed, tls, heard) in [
        (
            "ours",
            &closed,
            closed.connector(&closed.client()),
            Heard::Known,
        ),
        (
            "ours, where all may",
            &open,
            open.connector(&open.client()),
            Heard::Known,
        ),
        (
            "nobody, where all may",
            &open,
            open.anonymous(),
            Heard::Anonymous,
        ),
        ("nobody", &closed, closed.anonymous(), Heard::Nothing),
        (
            "no certificate yet",
            &closed,
            closed.connector(&bare),
            Heard::NotSent,
        ),
        (
            "of another authority",
            &closed,
            closed.connector(&foreign(&closed)),
            Heard::Nothing,
        ),
        (
            "the same, where all may",
            &open,
            open.connector(&foreign(&open)),
            Heard::Nothing,
        ),
        (
            "of another bundle",
            &closed,
            closed.connector(&suspicious),
            Heard::NotSent,
        ),
        (
            "of a role that may not",
            &narrow,
            narrow.connector(&narrow.client()),
            Heard::Nothing,
        ),
    ] {
        let answer = ask(&channel(tls, &bed.at)).await;
        let told = Heard::of(answer, heard == Heard::NotSent);
        assert_eq!(told, Some(heard), "{what}");
    }
    closed.stop.send_replace(true);
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_a_renewed_one_is_used_without_a_restart() {
    let bed = Bed::new();
    let client = bed.client();
    let renew = |keys: &Keys, who: &Identity| install(keys, &bed.authority, &bed.clock, who);
    bed.clock.advance(life_ms() + 1000);
    renew(&bed.server, &shard());
    let late = bed.ask(&client).await;
    late.expect_err("the client's certificate has expired");

    renew(&client, &gateway());
    bed.ask(&client).await.expect("renewed");

    bed.clock.advance(life_ms() - 1000);
    renew(&client, &gateway());
    let answer = bed.ask(&client).await;
    answer.expect("the server's is good for a second yet");
    bed.clock.advance(2000);
    let late = bed.ask(&client).await;
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
        let answer = bed.ask(&client).await;
        answer.unwrap_or_else(|status| panic!("{what}: {status:?}"));
    };
    // one after the other, in the order that hurts nobody
    client.set_bundle(&both).expect("two authorities");
    answers("the client trusts both").await;
    bed.server.set_bundle(&both).expect("two authorities");
    install(&client, &next, &bed.clock, &gateway());
    answers("the client has a certificate of the new one").await;
    install(&bed.server, &next, &bed.clock, &shard());
    answers("so has the server").await;
    client.set_bundle(next.certificate_pem()).expect("one");
    bed.server.set_bundle(next.certificate_pem()).expect("one");
    answers("the old one is forgotten").await;

    let late = bed.ask(&bed.client()).await;
    late.expect_err("a certificate of the old authority");
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
    install(&keys, &authority, &clock, &shard());
    assert!(!keys.renewal_due());
    let third = CERTIFICATE_LIFE / 3 + Duration::from_secs(300);
    clock.advance(u64::try_from(third.as_millis()).expect("days"));
    assert!(keys.renewal_due());
}

#[test]
fn what_cannot_be_used_leaves_the_old_in_place() {
    let (authority, clock) = (authority(1), Arc::new(ManualClock::new(NOW)));
    let keys = keys(&clock, &authority);
    let who = shard();
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
    install(&keys, &authority, &clock, &shard());
    let request = Request::new().expect("a key");
    let shown = format!("{authority:?} {:?} {keys:?} {request:?}", authority.pair());
    assert!(!shown.contains("PRIVATE"), "{shown}");
}
