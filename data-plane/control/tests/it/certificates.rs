//! The first certificate, the next ones, and what they open.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use millstream_clock::{Clock, ManualClock, SeededEntropy, task};
use millstream_control::attach::certify::TextSource;
use millstream_control::attach::server::SIGNING_MAX;
use millstream_control::attach::{Certifier, CertifyOptions};
use millstream_control::{MemoryStore, PlacementVersion};
use millstream_link::authority::{Authority, CERTIFICATE_LIFE};
use millstream_link::testkit::Pipes;
use millstream_link::tls::{Keys, TlsConnector, TlsListener};
use millstream_link::{Identity, Role};
use parking_lot::Mutex;

use crate::bed::{
    HANGING_TOKEN, NOW, Operator, Server, address, headless, identity, network, operators, shard,
};

/// A mounted file.
#[derive(Clone)]
struct Mounted(Arc<Mutex<String>>);

impl TextSource for Mounted {
    fn read(&self) -> io::Result<String> {
        Ok(self.0.lock().clone())
    }
}

fn mounted(text: &str) -> Mounted {
    Mounted(Arc::new(Mutex::new(text.to_owned())))
}

struct Bed {
    pipes: Pipes,
    operator: Operator,
    operator_keys: Keys,
    bundle: Mounted,
    clock: Arc<ManualClock>,
    disk: MemoryStore,
}

fn authority(seed: u64) -> Arc<Authority> {
    Arc::new(Authority::generate(NOW, &SeededEntropy::new(seed)).expect("a key"))
}

fn show(keys: &Keys, authority: &Authority, now: millstream_types::Millis) {
    let who = identity(Role::Operator, "op-0");
    let pair = authority.issue(&who, now, &SeededEntropy::new(6));
    let pair = pair.expect("a certificate");
    keys.install(&pair.certificate_pem, &pair.key_pem)
        .expect("a good certificate");
}

impl Bed {
    fn new() -> Self {
        let pipes = network(&["op-0:4570"]);
        let authority = authority(1);
        let clock = Arc::new(ManualClock::new(NOW));
        let dyn_clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let keys = Keys::new(dyn_clock, authority.certificate_pem()).expect("a bundle");
        show(&keys, &authority, NOW);
        let listener = pipes.listen(&address("op-0:4570"));
        let listener = TlsListener::anonymous_too(listener, keys.clone());
        Self {
            bundle: mounted(authority.certificate_pem()),
            operator: Operator::on(listener, authority),
            operator_keys: keys,
            pipes,
            clock,
            disk: MemoryStore::default(),
        }
    }

    fn certifier(&self, identity: &Identity, token: &str) -> Certifier {
        let options = CertifyOptions {
            identity: identity.clone(),
            operator: headless(),
            expected: operators(),
            resolver: Arc::new(self.pipes.clone()),
            connector: Arc::new(self.pipes.clone()),
            entropy: Arc::new(SeededEntropy::new(7)),
            token: Box::new(mounted(token)),
            bundle: Box::new(self.bundle.clone()),
            store: Box::new(self.disk.clone()),
        };
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        Certifier::new(options, clock).expect("a bundle")
    }

    fn pass(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).expect("days");
        self.clock.advance(ms);
        self.operator.replica.clock.advance(ms);
    }

    fn signed(&self) -> usize {
        self.operator.replica.signed.lock().len()
    }
}

fn shard_0() -> Identity {
    identity(Role::Shard, "shard-0")
}

const TOKEN: &str = "token of shard-0 uid-1\n";

#[tokio::test(start_paused = true)]
async fn a_pod_gets_a_certificate_and_attaches_with_it() {
    let mut bed = Bed::new();
    let mut certifier = bed.certifier(&shard_0(), TOKEN);
    let keys = certifier.keys();
    let tls = TlsConnector::new(Arc::new(bed.pipes.clone()), keys.clone());
    let disk = MemoryStore::default();
    let server = Server::start(&bed.pipes, Arc::new(tls), &shard_0(), &disk);
    task::sleep(Duration::from_secs(20)).await;
    assert!(
        bed.operator.sessions.try_recv().is_err(),
        "no certificate yet"
    );

    certifier.first().await;
    let facts = keys.certificate().expect("a certificate");
    assert_eq!(facts.identity, shard_0());
    let session = bed.operator.session().await;
    assert_eq!(session.server, shard_0());
    session.desired.send_replace(Some(shard(1, 1)));
    server.holds(PlacementVersion::new(1, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn only_the_pod_itself_gets_its_certificate() {
    let bed = Bed::new();
    let gateway = identity(Role::Gateway, "shard-0");
    for (who, token) in [
        (shard_0(), "nonsense"),
        (shard_0(), "token of shard-1 uid-1"),
        (shard_0(), "token of shard-0 uid-2"),
        (gateway, TOKEN),
    ] {
        let mut certifier = bed.certifier(&who, token);
        certifier.refresh().await;
        assert_eq!(certifier.keys().certificate(), None, "{who} with {token}");
    }
    assert_eq!(bed.signed(), 0);
    // the one that is right
    let mut certifier = bed.certifier(&shard_0(), TOKEN);
    certifier.refresh().await;
    assert_eq!(bed.signed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_standby_does_not_sign() {
    let bed = Bed::new();
    bed.operator.lead(false);
    let mut certifier = bed.certifier(&shard_0(), TOKEN);
    certifier.refresh().await;
    assert_eq!((bed.signed(), certifier.keys().certificate()), (0, None));
}

#[tokio::test(start_paused = true)]
async fn while_too_many_ask_a_pod_is_told_to_ask_again_and_does() {
    let bed = Bed::new();
    for _ in 0..SIGNING_MAX {
        let mut hanging = bed.certifier(&shard_0(), HANGING_TOKEN);
        drop(task::spawn("hanging", async move {
            hanging.refresh().await;
        }));
    }
    task::sleep(Duration::from_secs(1)).await;
    let mut certifier = bed.certifier(&shard_0(), TOKEN);
    certifier.refresh().await;
    assert_eq!((bed.signed(), certifier.keys().certificate()), (0, None));
    certifier.first().await;
    assert_eq!(bed.signed(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_operator_of_another_authority_gets_no_token() {
    let bed = Bed::new();
    *bed.bundle.0.lock() = authority(8).certificate_pem().to_owned();
    let mut certifier = bed.certifier(&shard_0(), TOKEN);
    certifier.refresh().await;
    assert_eq!((bed.signed(), certifier.keys().certificate()), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_after_a_third_and_the_new_one_is_shown() {
    let mut bed = Bed::new();
    let mut certifier = bed.certifier(&shard_0(), TOKEN);
    certifier.first().await;
    let first = certifier.keys().certificate().expect("a certificate");
    certifier.refresh().await;
    assert_eq!(bed.signed(), 1, "it is fresh");

    bed.pass(CERTIFICATE_LIFE / 3 + Duration::from_secs(600));
    certifier.refresh().await;
    assert_eq!(bed.signed(), 2);
    let second = certifier.keys().certificate().expect("a certificate");
    assert!(second.not_after > first.not_after);

    // past the end of the first, the second opens the door
    bed.pass(CERTIFICATE_LIFE * 2 / 3);
    show(
        &bed.operator_keys,
        &bed.operator.replica.authority.lock().clone(),
        bed.clock.now(),
    );
    assert!(bed.clock.now() > first.not_after);
    let tls = TlsConnector::new(Arc::new(bed.pipes.clone()), certifier.keys());
    let disk = MemoryStore::default();
    let _server = Server::start(&bed.pipes, Arc::new(tls), &shard_0(), &disk);
    assert_eq!(bed.operator.session().await.server, shard_0());
}

#[tokio::test(start_paused = true)]
async fn a_restarted_process_goes_on_with_the_certificate_it_kept() {
    let bed = Bed::new();
    let mut first = bed.certifier(&shard_0(), TOKEN);
    first.first().await;
    let facts = first.keys().certificate();
    bed.operator.lead(false);
    let mut again = bed.certifier(&shard_0(), TOKEN);
    again.first().await;
    assert_eq!(again.keys().certificate(), facts);
    // an expired one is of no use
    bed.pass(CERTIFICATE_LIFE);
    let late = bed.certifier(&shard_0(), TOKEN);
    assert_eq!(late.keys().certificate(), None);
}

#[tokio::test(start_paused = true)]
async fn a_new_authority_takes_over_without_a_restart() {
    let mut bed = Bed::new();
    let mut certifier = bed.certifier(&shard_0(), TOKEN);
    certifier.first().await;
    let old = Arc::clone(&bed.operator.replica.authority.lock());
    let new = authority(2);
    let both = format!("{}{}", old.certificate_pem(), new.certificate_pem());

    // both are trusted, then the operator signs with the new one and shows a certificate of it
    bed.operator_keys.set_bundle(&both).expect("two");
    *bed.bundle.0.lock() = both;
    *bed.operator.replica.authority.lock() = Arc::clone(&new);
    certifier.refresh().await;
    assert_eq!(
        bed.signed(),
        2,
        "a changed bundle asks for a new certificate"
    );
    show(&bed.operator_keys, &new, bed.clock.now());

    // the old one is forgotten everywhere
    bed.operator_keys
        .set_bundle(new.certificate_pem())
        .expect("one");
    *bed.bundle.0.lock() = new.certificate_pem().to_owned();
    certifier.refresh().await;
    let tls = TlsConnector::new(Arc::new(bed.pipes.clone()), certifier.keys());
    let disk = MemoryStore::default();
    let _server = Server::start(&bed.pipes, Arc::new(tls), &shard_0(), &disk);
    assert_eq!(bed.operator.session().await.server, shard_0());
}
