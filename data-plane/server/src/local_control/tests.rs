//! The local control plane over a store in memory.

use std::fs;
use std::sync::Arc;

use millstream_clock::{ManualClock, SeededEntropy};
use millstream_storage::StoreError;
use millstream_storage::memory::MemoryStore;
use millstream_stream::{Stream, TokenKey};
use millstream_types::Millis;
use tempfile::TempDir;

use super::*;

struct Bed {
    folder: TempDir,
    store: Arc<MemoryStore>,
    streams: Streams<MemoryStore>,
    control: LocalControl<MemoryStore>,
}

fn scope() -> Scope {
    Scope {
        account: "000000000000".parse().expect("an account"),
        region: "us-east-1".parse().expect("a region"),
    }
}

fn name(text: &str) -> StreamName {
    text.parse().expect("a stream name")
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::new(Millis(1_700_000_000_000)));
        let store = Arc::new(MemoryStore::new(clock.clone()));
        let streams = Streams::open(
            Arc::clone(&store),
            millstream_stream::Options::default(),
            clock,
            Arc::new(SeededEntropy::new(1)),
            &TokenKey::new([1; 32]),
        )
        .expect("an empty store");
        let options = Options {
            data_dir: folder.path().to_owned(),
            scope: scope(),
        };
        Self {
            control: LocalControl::new(options, streams.clone()),
            folder,
            store,
            streams,
        }
    }

    async fn apply(&self, specs: &[(&str, &str)]) -> Result<Applied, ManifestsError> {
        let documents: Vec<String> = specs
            .iter()
            .map(|(name, spec)| {
                format!(
                    "apiVersion: millstream.dev/v1alpha1\nkind: DataStream\nmetadata: {{name: \
                     {name}}}\nspec: {spec}\n"
                )
            })
            .collect();
        let file = self.folder.path().join("streams.yaml");
        fs::write(&file, documents.join("---\n")).expect("a file");
        self.control.apply_manifests(&file).await
    }

    fn stream(&self, text: &str) -> Arc<Stream> {
        self.streams.get(&scope(), &name(text)).expect("the stream")
    }
}

fn applied(created: usize, updated: usize, unchanged: usize) -> Applied {
    Applied {
        created,
        updated,
        unchanged,
    }
}

#[tokio::test]
async fn manifests_create_change_and_never_delete() {
    let bed = Bed::new();
    let done = bed.apply(&[("a", "{shardCount: 2}"), ("b", "{}")]).await;
    assert_eq!(done.expect("applied"), applied(2, 0, 0));
    assert_eq!(bed.stream("a").open_shard_count(), 2);
    let uid = bed.stream("a").uid();

    let done = bed
        .apply(&[("a", "{retentionPeriodHours: 48, tags: {x: y}}")])
        .await;
    assert_eq!(done.expect("applied"), applied(0, 1, 0));
    let a = bed.stream("a");
    assert_eq!((a.uid(), a.open_shard_count()), (uid, 2));
    assert_eq!(a.settings().retention_hours, 48);
    assert_eq!(a.settings().tags.get("x").map(String::as_str), Some("y"));
    bed.stream("b");

    // Absent tags are managed elsewhere: they stay.
    let done = bed
        .apply(&[("a", "{retentionPeriodHours: 48}"), ("b", "{}")])
        .await;
    assert_eq!(done.expect("applied"), applied(0, 0, 2));
    assert_eq!(bed.stream("a").settings().tags.len(), 1);
}

#[tokio::test]
async fn a_changed_shard_count_is_refused_and_nothing_else_is_done() {
    let bed = Bed::new();
    bed.apply(&[("b", "{shardCount: 2}")])
        .await
        .expect("applied");
    let refused = bed.apply(&[("a", "{}"), ("b", "{shardCount: 3}")]).await;
    let error = refused.expect_err("resharding is not served");
    assert!(error.is_configuration());
    let text = error.to_string();
    assert!(
        text.ends_with(
            "document 2: spec.shardCount: is 3, but the stream b has 2 shards and this version \
             cannot change that; set it to 2 or remove it"
        ),
        "{text}"
    );
    assert!(bed.streams.get(&scope(), &name("a")).is_err());
}

#[tokio::test]
async fn a_refusing_store_is_no_mistake_of_the_manifests_and_a_second_try_goes_on() {
    let bed = Bed::new();
    bed.store.refuse(Some(StoreError::NoSpace));
    let error = bed.apply(&[("a", "{}")]).await.expect_err("no space");
    assert!(!error.is_configuration());
    assert_eq!(
        error.to_string(),
        "stream a: Rate exceeded for the account."
    );
    bed.store.refuse(None);
    assert_eq!(
        bed.apply(&[("a", "{}")]).await.expect("applied"),
        applied(1, 0, 0)
    );
}

#[tokio::test]
async fn the_desired_state_is_kept_and_follows_the_manifests() {
    let bed = Bed::new();
    bed.apply(&[("a", "{}"), ("b", "{}")])
        .await
        .expect("applied");
    bed.apply(&[("b", "{retentionPeriodHours: 48}")])
        .await
        .expect("applied");
    let state = node::read_desired_state(bed.folder.path()).expect("the state");
    let wanted: Vec<(&str, u64)> = state
        .streams
        .iter()
        .map(|s| (s.spec.name.as_str(), s.version.0))
        .collect();
    assert_eq!(wanted, [("b", 2)]);
}

#[tokio::test]
async fn calls_create_and_delete_with_the_words_of_aws() {
    let bed = Bed::new();
    let spec = |text: &str| StreamSpec::new(name(text));
    bed.control
        .create_stream(&scope(), spec("a"))
        .await
        .expect("created");
    assert_eq!(bed.stream("a").open_shard_count(), 1);
    let again = bed.control.create_stream(&scope(), spec("a")).await;
    let taken = "Stream a under account 000000000000 already exists.".to_owned();
    assert_eq!(again, Err(CreateStreamError::Exists(taken)));
    let mut huge = spec("huge");
    huge.shard_count = Some(100_000_000_000);
    let refused = bed.control.create_stream(&scope(), huge).await;
    assert!(
        matches!(refused, Err(CreateStreamError::LimitExceeded(_))),
        "{refused:?}"
    );
    let mut on_demand = spec("b");
    on_demand.mode = StreamMode::OnDemand;
    let refused = bed.control.create_stream(&scope(), on_demand).await;
    assert!(
        matches!(refused, Err(CreateStreamError::Invalid(_))),
        "{refused:?}"
    );

    bed.control
        .delete_stream(&scope(), &name("a"))
        .await
        .expect("deleted");
    let gone = "Stream a under account 000000000000 not found.".to_owned();
    let again = bed.control.delete_stream(&scope(), &name("a")).await;
    assert_eq!(again, Err(DeleteStreamError::NotFound(gone)));
}
