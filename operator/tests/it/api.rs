//! What SDK clients, servers and other replicas ask of the operator.

use std::sync::Arc;
use std::time::Duration;

use millstream_clock::{SystemClock, task};
use millstream_control::attach::{
    Authenticator as _, Contract as _, PodIdentity, ReviewError, SignError,
};
use millstream_control::{
    CreateStreamError, DeleteStreamError, Identity, Role, Secret, StreamSpec,
};
use millstream_link::authority::Request;
use millstream_operator::admin::Admin;
use millstream_operator::contract::object_name::object_name;
use millstream_operator::contract::review::TokenReviewer;
use millstream_operator::lease::{self, KubernetesLease};
use millstream_types::{Scope, StreamName};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::mock::Fault;
use super::rig::{HOME, MAPS, PODS, Rig, SET_NAME, SETS, STREAMS, TEAM};

fn scope() -> Scope {
    Scope {
        account: "000000000001".parse().expect("an account"),
        region: "eu-west-1".parse().expect("a region"),
    }
}

fn name(text: &str) -> StreamName {
    text.parse().expect("a stream name")
}

#[tokio::test]
async fn a_client_creates_and_deletes_a_stream_as_an_object() {
    let mut rig = Rig::new().await;
    rig.apply("warm", json!({"pool": "default"}));
    let servers = rig.run_pool().await;
    let mut spec = StreamSpec::new(name("Orders_EU"));
    spec.shard_count = Some(3);
    let scope = scope();
    rig.operator
        .create_stream(&scope, spec.clone())
        .await
        .expect("created");
    let object = object_name(&spec.name);
    let active = rig.wait_reason(&object, "Active").await;
    assert_eq!(active["spec"]["streamName"], "Orders_EU");
    assert_eq!(active["spec"]["deletionPolicy"], "Delete");
    assert_eq!(active["status"]["shardCount"], 3);
    let again = rig.operator.create_stream(&scope, spec.clone()).await;
    let text = "Stream Orders_EU under account 000000000001 already exists.".to_owned();
    assert_eq!(again, Err(CreateStreamError::Exists(text)));
    rig.operator
        .delete_stream(&scope, &spec.name)
        .await
        .expect("deleted");
    rig.wait_for("the object's end", || {
        rig.mock
            .find(STREAMS, TEAM, &object)
            .is_none()
            .then_some(())
    })
    .await;
    let absent = rig.operator.delete_stream(&scope, &spec.name).await;
    assert!(
        matches!(absent, Err(DeleteStreamError::NotFound(_))),
        "{absent:?}"
    );
    drop(servers);
}

#[tokio::test]
async fn a_client_is_told_at_once_what_cannot_be_built() {
    let mut rig = Rig::new().await;
    rig.apply("kept", json!({"pool": "default"}));
    let servers = rig.run_pool().await;
    rig.wait_reason("kept", "Active").await;
    let create = async |spec: StreamSpec| rig.operator.create_stream(&scope(), spec).await;
    let mut many = StreamSpec::new(name("many"));
    many.shard_count = Some(41);
    let full = create(many).await;
    assert!(
        matches!(full, Err(CreateStreamError::LimitExceeded(_))),
        "{full:?}"
    );
    let mut on_demand = StreamSpec::new(name("on-demand"));
    on_demand.mode = millstream_types::StreamMode::OnDemand;
    let not_served = create(on_demand).await;
    assert!(
        matches!(not_served, Err(CreateStreamError::Invalid(_))),
        "{not_served:?}"
    );
    rig.delete("kept").await;
    rig.wait_for("the object's end", || {
        rig.mock.find(STREAMS, TEAM, "kept").is_none().then_some(())
    })
    .await;
    rig.wait_for("the watch to see it", || {
        let context = &rig.leader.context;
        context.streams.get(TEAM, "kept").is_none().then_some(())
    })
    .await;
    let retained = create(StreamSpec::new(name("kept"))).await;
    let Err(CreateStreamError::InUse(text)) = retained else {
        panic!("{retained:?}");
    };
    assert!(text.contains("adoptStreamId"), "{text}");
    assert_eq!(rig.mock.all(STREAMS).len(), 0, "nothing was made");
    drop(servers);
}

#[tokio::test]
async fn what_a_manifest_made_is_not_the_clients_to_delete() {
    let rig = Rig::new().await;
    rig.apply("gits", json!({"pool": "default"}));
    rig.wait_reason("gits", "PoolStarting").await;
    let refused = rig.operator.delete_stream(&scope(), &name("gits")).await;
    let Err(DeleteStreamError::InUse(text)) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        text.contains("by kubectl") && text.contains("api-delete"),
        "{text}"
    );
    rig.annotate(STREAMS, "gits", "millstream.dev/api-delete", "allow");
    rig.operator
        .delete_stream(&scope(), &name("gits"))
        .await
        .expect("deleted");
    rig.wait_for("the object's end", || {
        rig.mock.find(STREAMS, TEAM, "gits").is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_was_just_made_takes_its_room_before_it_is_seen() {
    let rig = Rig::new().await;
    // the watches hang: what is made is not seen
    rig.mock.hold_events();
    let create = |text: &str, shards: u64| {
        let mut spec = StreamSpec::new(name(text));
        spec.shard_count = Some(shards);
        let operator = rig.operator.clone();
        async move { operator.create_stream(&scope(), spec).await }
    };
    // four pods of ten shards each
    assert_eq!(create("first", 30).await, Ok(()));
    let second = create("second", 20).await;
    assert!(
        matches!(second, Err(CreateStreamError::LimitExceeded(_))),
        "{second:?}"
    );
    assert_eq!(create("third", 10).await, Ok(()));
}

#[tokio::test]
async fn a_field_of_another_manager_is_a_conflict_that_names_it() {
    let rig = Rig::new().await;
    let wanted = name("Orders_EU");
    // somebody has put another stream under the very name of the object
    rig.apply(
        &object_name(&wanted),
        json!({"streamName": "Other", "pool": "default"}),
    );
    let refused = rig
        .operator
        .create_stream(&scope(), StreamSpec::new(wanted))
        .await;
    let Err(CreateStreamError::InUse(text)) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        text.contains("kubectl") && text.contains(".spec.streamName"),
        "{text}"
    );
    let other = scope_of("000000000002");
    let stranger = rig
        .operator
        .create_stream(&other, StreamSpec::new(name("x")))
        .await;
    assert_eq!(stranger, Err(CreateStreamError::Internal));
}

fn scope_of(account: &str) -> Scope {
    Scope {
        account: account.parse().expect("an account"),
        ..scope()
    }
}

const REMOVED: &str = "millstream-shard-removed";

/// A pod of a pool whose class is not in the configuration.
fn pod_of_removed_class(rig: &Rig) -> PodIdentity {
    let pod = format!("{REMOVED}-0");
    let object = rig.mock.put(
        PODS,
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": TEAM},
            "spec": {"serviceAccountName": REMOVED, "containers": []},
        }),
    );
    let uid = object["metadata"]["uid"].as_str().expect("a UID");
    PodIdentity {
        namespace: TEAM.to_owned(),
        uid: uid.to_owned(),
        pod,
    }
}

/// The set of that pool: as that of the default one.
fn put_removed_class(rig: &Rig) {
    let mut set = rig.mock.find(SETS, TEAM, SET_NAME).expect("there");
    set["metadata"] = json!({
        "name": REMOVED, "namespace": TEAM, "labels": set["metadata"]["labels"],
    });
    set["metadata"]["labels"]["millstream.dev/pool"] = json!("removed");
    rig.mock.put(SETS, set);
}

#[tokio::test]
async fn pods_that_are_left_alone_learn_whom_to_trust_all_the_same() {
    let rig = Rig::new().await;
    rig.apply("a", json!({"pool": "default"}));
    rig.run_pods(SET_NAME).await;
    rig.annotate(SETS, SET_NAME, "millstream.dev/pause", "true");
    let trusts = |text: &str| {
        let map = rig.mock.find(MAPS, TEAM, "millstream-ca-bundle")?;
        (map["data"]["ca.crt"] == text).then_some(())
    };
    let spread = |text: &str| {
        text.clone_into(&mut rig.leader.context.bundle.lock());
        rig.leader.context.changed.beat();
    };
    spread("of a paused pool");
    rig.wait_for("the bundle", || trusts("of a paused pool"))
        .await;
    // one whose class is not configured is the only one left
    put_removed_class(&rig);
    rig.mock.remove(SETS, TEAM, SET_NAME);
    spread("of a removed class");
    rig.wait_for("the bundle", || trusts("of a removed class"))
        .await;
}

#[tokio::test]
async fn a_certificate_goes_to_the_pod_of_the_token_in_its_own_role() {
    let rig = Rig::new().await;
    rig.apply("a", json!({"pool": "default"}));
    rig.run_pods(SET_NAME).await;
    let pod_name = format!("{SET_NAME}-0");
    let object = rig.mock.find(PODS, TEAM, &pod_name).expect("there");
    let pod = PodIdentity {
        namespace: TEAM.to_owned(),
        pod: pod_name.clone(),
        uid: object["metadata"]["uid"]
            .as_str()
            .expect("a UID")
            .to_owned(),
    };
    let request = Request::new().expect("a key").request_pem;
    let as_role = |role| Identity::new(TEAM, role, &pod_name).expect("an identity");
    let signed = rig
        .operator
        .sign(&pod, &as_role(Role::Shard), &request)
        .await;
    assert!(signed.expect("signed").contains("BEGIN CERTIFICATE"));
    for role in [Role::Gateway, Role::Operator] {
        let refused = rig.operator.sign(&pod, &as_role(role), &request).await;
        assert!(matches!(refused, Err(SignError::Refused(_))), "{refused:?}");
    }
    let elsewhere = pod_of_removed_class(&rig);
    let identity = Identity::new(TEAM, Role::Shard, &elsewhere.pod).expect("an identity");
    let refused = rig.operator.sign(&elsewhere, &identity, &request).await;
    assert!(matches!(refused, Err(SignError::Refused(_))), "{refused:?}");
    put_removed_class(&rig);
    let signed = rig.operator.sign(&elsewhere, &identity, &request).await;
    assert!(signed.is_ok(), "its pool is there: {signed:?}");

    let earlier = PodIdentity {
        uid: "another".to_owned(),
        ..pod
    };
    let refused = rig
        .operator
        .sign(&earlier, &as_role(Role::Shard), &request)
        .await;
    assert!(matches!(refused, Err(SignError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn of_two_replicas_one_leads_and_the_other_takes_over() {
    let rig = Rig::new().await;
    let lease = || {
        Arc::new(KubernetesLease::new(
            rig.parts.client.clone(),
            HOME,
            "lease",
        ))
    };
    let clock = || Arc::new(SystemClock::new());
    let duration = Duration::from_secs(5);
    let first = lease::campaign(lease(), clock(), "one".to_owned(), duration).await;
    assert_eq!(first.term(), 1);
    let second = lease::campaign(lease(), clock(), "two".to_owned(), duration);
    let second = task::spawn("second", second);
    first.release().await;
    let limit = Duration::from_secs(60);
    let second = task::timeout(limit, second)
        .await
        .expect("it takes over")
        .expect("ran");
    assert_eq!(second.term(), 2);
}

#[tokio::test]
async fn a_token_is_good_for_its_audience_and_its_pod_alone() {
    let rig = Rig::new().await;
    let user = json!({
        "username": "system:serviceaccount:team:millstream-shard-default",
        "extra": {
            "authentication.kubernetes.io/pod-name": ["p-0"],
            "authentication.kubernetes.io/pod-uid": ["u"],
        },
    });
    let good = json!({
        "authenticated": true, "audiences": ["millstream-control"], "user": user,
    });
    rig.mock.know_token("good", good);
    let reviewer = TokenReviewer::new(rig.parts.client.clone(), "millstream-control".to_owned());
    let pod = reviewer
        .review(&Secret::new("good".to_owned()))
        .await
        .expect("accepted");
    assert_eq!((pod.namespace.as_str(), pod.pod.as_str()), ("team", "p-0"));
    let bad = reviewer.review(&Secret::new("bad".to_owned())).await;
    assert!(matches!(bad, Err(ReviewError::Rejected(_))), "{bad:?}");
    rig.mock.fail(Fault {
        method: "POST",
        resource: "authentication.k8s.io/v1/tokenreviews",
        code: 500,
        times: 1,
    });
    let away = reviewer.review(&Secret::new("good".to_owned())).await;
    assert!(matches!(away, Err(ReviewError::Unavailable(_))), "{away:?}");
}

#[tokio::test]
async fn the_admin_port_shows_metrics_to_those_who_may_get_them() {
    let rig = Rig::new().await;
    for user in ["scraper", "tenant"] {
        let status = json!({"authenticated": true, "user": {"username": user}});
        rig.mock.know_token(user, status);
    }
    rig.mock.let_scrape("scraper");
    rig.mock.let_scrape("");
    let nobody = json!({"authenticated": true});
    rig.mock.know_token("nobody", nobody);
    let admin = Admin::new(rig.parts.metrics.clone(), rig.parts.client.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = task::spawn("admin", admin.clone().serve(listener));
    let get = async |path: &str, token: &str| -> String {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    };
    assert!(get("/healthz", "").await.starts_with("HTTP/1.1 200"));
    assert!(get("/readyz", "").await.starts_with("HTTP/1.1 503"));
    admin.set_ready(true);
    assert!(get("/readyz", "").await.starts_with("HTTP/1.1 200"));
    for (token, code) in [
        ("stranger", 401),
        ("nobody", 401),
        ("tenant", 403),
        ("", 401),
    ] {
        let refused = get("/metrics", token).await;
        assert!(
            refused.starts_with(&format!("HTTP/1.1 {code}")),
            "{token}: {refused}"
        );
        assert!(!refused.contains("millstream_operator"), "{refused}");
    }
    let shown = get("/metrics", "scraper").await;
    assert!(shown.contains("millstream_operator_streams"), "{shown}");
    rig.mock.fail(Fault {
        method: "POST",
        resource: "authorization.k8s.io/v1/subjectaccessreviews",
        code: 500,
        times: 1,
    });
    let unasked = get("/metrics", "scraper").await;
    assert!(unasked.starts_with("HTTP/1.1 401"), "{unasked}");
    server.abort();
}
