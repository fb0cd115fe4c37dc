use std::os::unix::fs::PermissionsExt as _;

use millstream_clock::SeededEntropy;
use millstream_types::{ShardMetric, ShardMetrics};

use super::*;

const GOLDEN: &str = include_str!("../../../tests/golden/desired-state-v1");

fn scope() -> Scope {
    Scope {
        account: "000000000000".parse().expect("an account"),
        region: "us-east-1".parse().expect("a region"),
    }
}

fn spec(name: &str) -> StreamSpec {
    StreamSpec::new(name.parse().expect("a name"))
}

fn golden_state() -> DesiredState {
    let mut full = spec("flights");
    full.shard_count = Some(4);
    full.retention_hours = 48;
    full.tags = Some([("team".to_owned(), "data".to_owned())].into());
    let mut metrics = ShardMetrics::default();
    metrics.insert(ShardMetric::IncomingBytes);
    full.shard_level_metrics = Some(metrics);
    let wanted = |version, spec| DesiredStream {
        scope: scope(),
        version: Version(version),
        spec,
    };
    DesiredState {
        version: Version(7),
        streams: vec![wanted(3, full), wanted(7, spec("trains"))],
    }
}

#[test]
fn the_key_is_made_once_and_only_its_owner_reads_it() {
    let folder = tempfile::tempdir().expect("a folder");
    iterator_key(folder.path(), &SeededEntropy::new(1)).expect("a key");
    let path = folder.path().join("node/iterator.key");
    let first = fs::read(&path).expect("the file");
    assert_eq!(first.len(), 32);
    assert_ne!(first, [0; 32]);
    let mode = fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    iterator_key(folder.path(), &SeededEntropy::new(2)).expect("the key");
    assert_eq!(fs::read(&path).expect("the file"), first);
    let files = fs::read_dir(folder.path().join("node"))
        .expect("the folder")
        .count();
    assert_eq!(files, 1, "nothing is left beside it");
}

#[test]
fn a_key_of_another_length_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("node")).expect("a folder");
    fs::write(folder.path().join("node/iterator.key"), [1; 31]).expect("a file");
    let refused = iterator_key(folder.path(), &SeededEntropy::new(1));
    assert!(matches!(
        refused.err(),
        Some(NodeFileError::Key { bytes: 31, .. })
    ));
}

#[test]
fn version_1_of_the_desired_state_is_written_and_read_as_in_the_golden_file() {
    let written = String::from_utf8(encode(&golden_state())).expect("a text");
    assert_eq!(written, GOLDEN);
    assert_eq!(decode(GOLDEN.as_bytes()), Ok(golden_state()));
}

#[test]
fn the_desired_state_reads_back_and_a_changed_one_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = golden_state();
    assert_eq!(
        read_desired_state(folder.path()).expect("none yet"),
        DesiredState::default()
    );
    write_desired_state(folder.path(), &state).expect("written");
    assert_eq!(read_desired_state(folder.path()).expect("the state"), state);

    let changed = GOLDEN.replace("\"version\": 7", "\"version\": 8");
    assert_eq!(decode(changed.as_bytes()), Err("its checksum is wrong"));
    let newer = GOLDEN.replacen("desired-state 1", "desired-state 2", 1);
    assert_eq!(
        decode(newer.as_bytes()),
        Err("its first line is not of this version")
    );
    for length in 0..GOLDEN.len() - 1 {
        assert!(decode(&GOLDEN.as_bytes()[..length]).is_err(), "{length}");
    }
    fs::write(folder.path().join("node/desired-state"), changed).expect("a file");
    let refused = read_desired_state(folder.path()).expect_err("changed");
    assert!(
        refused
            .to_string()
            .ends_with("remove the file (it is written again from the manifests)")
    );
}

#[test]
fn only_a_changed_stream_gets_a_new_version_and_a_dropped_one_is_known() {
    let first = DesiredState::default().followed_by(&scope(), vec![spec("a"), spec("b")]);
    let versions =
        |state: &DesiredState| -> Vec<u64> { state.streams.iter().map(|s| s.version.0).collect() };
    assert_eq!(versions(&first), [1, 1]);
    assert_eq!(
        first.followed_by(&scope(), vec![spec("a"), spec("b")]),
        first
    );
    let mut longer = spec("b");
    longer.retention_hours = 48;
    let second = first.followed_by(&scope(), vec![longer, spec("c")]);
    assert_eq!(
        (versions(&second), second.version),
        (vec![2, 2], Version(2))
    );
    let dropped: Vec<&str> = first
        .dropped_by(&second)
        .iter()
        .map(|s| s.spec.name.as_str())
        .collect();
    assert_eq!(dropped, ["a"]);
}
