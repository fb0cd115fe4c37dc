//! Memory that is used up throttles, lane by lane.

use millstream_stream::{NewStream, Settings};
use millstream_types::StreamMode;

use crate::client::{Connection, head, put_body, request};
use crate::fixture::{Fixture, Setup, home};
use crate::slow::iterator;

const THROTTLED: &str = "ProvisionedThroughputExceededException";

#[tokio::test]
async fn a_full_large_lane_throttles_large_bodies_alone() {
    let fixture = Fixture::start(Setup::default()).await;
    let large = &fixture.budgets.bodies[2];
    let hog = large.take(large.free_bytes() - 1000).expect("free");
    let mut connection = Connection::open(fixture.addr).await;
    let answer = connection.ask("PutRecord", &put_body(2 << 20)).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains(THROTTLED), "{}", answer.text());
    for bytes in [30, 200_000] {
        assert_eq!(
            connection.ask("PutRecord", &put_body(bytes)).await.status,
            200
        );
    }
    assert!(fixture.counted("millstream_throttled_requests_total{operation=\"PutRecord\"} 1"));
    drop(hog);
    let answer = connection.ask("PutRecord", &put_body(1_000_000)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(fixture.held_bytes(), 0);
}

#[tokio::test]
async fn memory_is_taken_as_bytes_arrive_not_as_announced() {
    let fixture = Fixture::start(Setup::default()).await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut connection = Connection::open(fixture.addr).await;
        let announced = 14 << 20;
        connection
            .send(format!(
                "{}content-length: {announced}\r\n\r\n{{",
                head("PutRecord")
            ))
            .await;
        slow.push(connection);
    }
    fixture
        .until("all began", |f| {
            f.budgets.bodies[2].used_bytes() >= 50 * 4096
        })
        .await;
    assert_eq!(fixture.budgets.bodies[2].used_bytes(), 50 * 4096);
    drop(slow);
    fixture
        .until("all is given back", |f| f.held_bytes() == 0)
        .await;
}

#[tokio::test]
async fn readers_get_smaller_pages_and_then_throttling() {
    let fixture = Fixture::start(Setup::default()).await;
    let mut connection = Connection::open(fixture.addr).await;
    for _ in 0..100 {
        assert_eq!(
            connection.ask("PutRecord", &put_body(3000)).await.status,
            200
        );
    }
    let body = format!(
        r#"{{"ShardIterator":"{}"}}"#,
        iterator(&mut connection).await
    );
    let records = |text: &str| text.matches("\"PartitionKey\"").count();
    assert_eq!(
        records(&connection.ask("GetRecords", &body).await.text()),
        100
    );

    let [small, large] = &fixture.budgets.responses;
    let hog = large.take(large.free_bytes()).expect("free");
    let few = records(&connection.ask("GetRecords", &body).await.text());
    assert!(
        (1..20).contains(&few),
        "{few} records of 3000 bytes in a small page"
    );

    let rest = small.take(small.free_bytes()).expect("free");
    let answer = connection.ask("GetRecords", &body).await;
    assert!(answer.text().contains(THROTTLED), "{}", answer.text());
    drop((hog, rest));
    assert_eq!(
        records(&connection.ask("GetRecords", &body).await.text()),
        100
    );
}

#[tokio::test]
async fn a_list_takes_memory_until_it_is_sent() {
    let fixture = Fixture::start(Setup::default()).await;
    let stream = NewStream {
        name: "wide".parse().expect("a name"),
        mode: StreamMode::Provisioned,
        shard_count: 100,
        settings: Settings::default(),
    };
    fixture
        .streams
        .create(&home(), stream)
        .await
        .expect("created");
    let mut connection = Connection::open(fixture.addr).await;
    let body = r#"{"StreamName":"wide"}"#;
    let hogs: Vec<_> = fixture
        .budgets
        .responses
        .iter()
        .map(|lane| lane.take(lane.free_bytes()).expect("free"))
        .collect();
    let answer = connection.ask("ListShards", body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains(THROTTLED), "{}", answer.text());
    assert_eq!(connection.ask("ListStreams", "{}").await.status, 200);
    drop(hogs);
    let answer = connection.ask("ListShards", body).await;
    assert_eq!(answer.text().matches("\"ShardId\"").count(), 100);
    fixture
        .until("it is given back", |f| f.held_bytes() == 0)
        .await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_gives_its_memory_back() {
    let fixture = Fixture::start(Setup::default()).await;
    let mut connection = Connection::open(fixture.addr).await;
    let whole = request("PutRecord", &put_body(300_000));
    connection.send(&whole[..200_000]).await;
    fixture
        .until("memory is held", |f| f.held_bytes() > 0)
        .await;
    drop(connection);
    fixture
        .until("it is given back", |f| f.held_bytes() == 0)
        .await;
}
