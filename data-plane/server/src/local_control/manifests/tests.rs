use std::fs;

use millstream_types::ShardMetric;
use tempfile::TempDir;

use super::*;

/// A folder with one file of this text.
fn file_of(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("streams.yaml");
    fs::write(&file, text).expect("a file");
    (folder, file)
}

/// What a file with this text holds.
fn manifests(text: &str) -> Vec<Manifest> {
    let (_folder, file) = file_of(text);
    read(&file).expect("manifests")
}

/// Why a file with this text, called F, is refused.
fn refusal(text: &str) -> String {
    let (_folder, file) = file_of(text);
    let error = read(&file).expect_err("a manifest that is refused");
    error.to_string().replace(&file.display().to_string(), "F")
}

fn stream(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: millstream.dev/v1alpha1\nkind: DataStream\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

fn names(manifests: &[Manifest]) -> Vec<&str> {
    manifests.iter().map(|m| m.spec.name.as_str()).collect()
}

#[test]
fn every_field_of_a_manifest_is_taken() {
    let spec = "{streamName: Flights_1, shardCount: 4, retentionPeriodHours: 48, \
                maxRecordSizeInKiB: 2048, tags: {team: data}, shardLevelMetrics: [OutgoingBytes], \
                pool: fast, deletionPolicy: Retain, \
                adoptStreamId: 0123456789abcdef0123456789abcdef}";
    let manifests = manifests(&stream("flights", spec));
    let mut metrics = ShardMetrics::default();
    metrics.insert(ShardMetric::OutgoingBytes);
    let expected = StreamSpec {
        name: "Flights_1".parse().expect("a name"),
        mode: StreamMode::Provisioned,
        shard_count: Some(4),
        retention_hours: 48,
        max_record_kib: 2048,
        tags: Some([("team".to_owned(), "data".to_owned())].into()),
        shard_level_metrics: Some(metrics),
    };
    assert_eq!(manifests[0].spec, expected);
    assert_eq!(
        manifests[0].adopt.as_deref(),
        Some("0123456789abcdef0123456789abcdef")
    );
}

#[test]
fn absent_fields_have_their_defaults() {
    let manifests = manifests(&stream("flights", "{}"));
    assert_eq!(
        manifests[0].spec,
        StreamSpec::new("flights".parse().expect("a name"))
    );
}

#[test]
fn documents_empty_ones_lists_and_foreign_kinds_are_read() {
    let text = format!(
        "---\n{}---\n---\n# nothing\n---\napiVersion: v1\nkind: ConfigMap\ndata: {{a: b}}\n---\n\
         apiVersion: v1\nkind: List\nitems:\n- apiVersion: apps/v1\n  kind: Deployment\n\
         - apiVersion: millstream.dev/v1alpha1\n  kind: DataStream\n  metadata: {{name: b}}\n  \
         spec: {{}}\n---\napiVersion: v1\nkind: List\n",
        stream("a", "{}")
    );
    let manifests = manifests(&text);
    assert_eq!(names(&manifests), ["a", "b"]);
    assert!(
        manifests[1].source.ends_with("document 5, item 2"),
        "{}",
        manifests[1].source
    );
}

#[test]
fn a_folder_is_read_by_file_name_and_other_files_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    for (file, name) in [
        ("2.yml", "b"),
        ("1.yaml", "a"),
        ("3.json", "c"),
        ("notes.txt", "d"),
    ] {
        fs::write(folder.path().join(file), stream(name, "{}")).expect("a file");
    }
    fs::create_dir(folder.path().join("nested.yaml")).expect("a folder");
    let manifests = read(folder.path()).expect("manifests");
    assert_eq!(names(&manifests), ["a", "b", "c"]);
}

#[test]
fn what_is_refused_is_named_with_its_place_and_its_fix() {
    let planned = "apiVersion: millstream.dev/v1alpha1\nkind: DeliveryStream\n";
    let newer = "apiVersion: millstream.dev/v2\nkind: DataStream\n";
    let unknown = "apiVersion: millstream.dev/v1alpha1\nkind: Stream\n";
    let nested = "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List}]\n";
    for (text, expected) in [
        (
            planned.to_owned(),
            "F, document 1: kind DeliveryStream is not served by this version",
        ),
        (
            newer.to_owned(),
            "F, document 1: millstream.dev/v2 DataStream is unknown",
        ),
        (
            unknown.to_owned(),
            "F, document 1: millstream.dev/v1alpha1 Stream is unknown",
        ),
        (nested.to_owned(), "F, document 1, item 1: a List in a List"),
        (
            "kind: DataStream\n".to_owned(),
            "F, document 1: it has no apiVersion or no kind",
        ),
        (
            "- a\n".to_owned(),
            "F, document 1: it is no object with apiVersion and kind",
        ),
        ("a: [\n".to_owned(), "F: "),
        (stream("a", "{shardCont: 2}"), "unknown field `shardCont`"),
        (
            stream("a", "{shardCount: two}"),
            "document 1: spec.shardCount: invalid type",
        ),
        (
            stream("a", "{shardCount: 0}"),
            "spec.shardCount: 0 is below 1; set a value from",
        ),
        (
            format!("---\n---\n{}", stream("A", "{}")),
            "document 2: metadata.name",
        ),
        (
            stream("a", "{retentionPeriodHours: 1, pool: A}"),
            "; spec.pool",
        ),
    ] {
        let error = refusal(&text);
        assert!(
            error.contains(expected),
            "{error:?} does not contain {expected:?}"
        );
    }
}

#[test]
fn a_path_that_is_not_there_and_a_file_that_is_too_large_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = read(&folder.path().join("none.yaml")).expect_err("missing");
    assert!(matches!(missing, ManifestError::Io { .. }), "{missing}");
    let large = folder.path().join("large.yaml");
    let bytes = usize::try_from(FILE_BYTES_MAX).expect("small") + 1;
    fs::write(&large, vec![b'#'; bytes]).expect("a file");
    let error = read(&large).expect_err("too large");
    assert!(matches!(error, ManifestError::Limit { .. }), "{error}");
}
