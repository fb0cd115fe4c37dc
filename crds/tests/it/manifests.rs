//! The table of manifests against the parser and `validate()`.

use millstream_crds::{DataStream, DataStreamSpec};
use serde::Deserialize;

/// Who gives the second verdict on a row, beside `validate()`, where not everyone can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Judge {
    /// Only a real API server.
    Server,
    /// Only the engine of these tests.
    Offline,
}

/// One manifest and the verdict on it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) case: String,
    #[cfg_attr(
        not(feature = "cel"),
        expect(dead_code, reason = "read with the feature cel")
    )]
    pub(crate) by: Option<Judge>,
    #[cfg_attr(
        not(feature = "cel"),
        expect(dead_code, reason = "read with the feature cel")
    )]
    pub(crate) field: Option<String>,
    says: Option<String>,
    pub(crate) old: Option<serde_yaml::Value>,
    pub(crate) manifest: serde_yaml::Value,
}

pub(crate) fn table() -> Vec<Row> {
    let rows: Vec<Row> = serde_yaml::from_str(include_str!("../manifests/data_stream.yaml"))
        .expect("the table is checked in");
    assert!(rows.len() >= 60, "only {} rows", rows.len());
    rows
}

/// Parses and validates as a reader of manifests does; the error is what the user sees.
fn verdict(row: &Row) -> Result<(), String> {
    let parse = |value: &serde_yaml::Value| {
        let text = serde_yaml::to_string(value).expect("a value read from YAML");
        serde_yaml::from_str::<DataStream>(&text).map_err(|error| error.to_string())
    };
    let lines = |violations: Vec<millstream_crds::Violation>| {
        violations
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let stream = parse(&row.manifest)?;
    stream.validate().map_err(lines)?;
    if let Some(old) = &row.old {
        stream.validate_update(&parse(old)?).map_err(lines)?;
    }
    Ok(())
}

#[test]
fn validate_gives_the_verdict_of_the_table() {
    for row in table() {
        match (&row.says, verdict(&row)) {
            (None, Ok(())) => {},
            (None, Err(message)) => panic!("{}: refused: {message}", row.case),
            (Some(_), Ok(())) => panic!("{}: accepted", row.case),
            (Some(says), Err(message)) => {
                assert!(
                    message.contains(says),
                    "{}: {message:?} lacks {says:?}",
                    row.case
                );
            },
        }
    }
}

#[test]
fn every_broken_rule_is_reported_at_once() {
    let text = "{apiVersion: millstream.dev/v1alpha1, kind: DataStream, metadata: {name: UP}, \
                spec: {shardCount: 0, retentionPeriodHours: 1, pool: '-'}}";
    let stream: DataStream = serde_yaml::from_str(text).expect("well-formed");
    let violations = stream.validate().expect_err("four rules are broken");
    let fields: Vec<&str> = violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "metadata.name",
            "spec.shardCount",
            "spec.retentionPeriodHours",
            "spec.pool"
        ]
    );
}

#[test]
fn a_stream_survives_yaml_and_back() {
    for row in table().into_iter().filter(|row| row.says.is_none()) {
        let stream: DataStream = serde_yaml::from_value(row.manifest).expect("a good row");
        let text = serde_yaml::to_string(&stream).expect("plain data");
        let again: DataStream = serde_yaml::from_str(&text).expect("just written");
        assert_eq!(again, stream, "{}", row.case);
    }
}

#[test]
fn the_object_name_stands_for_the_stream_name() {
    let mut stream = DataStream::new("flights", DataStreamSpec::default());
    assert_eq!(stream.stream_name(), "flights");
    stream.spec.stream_name = Some("Flights_2013".to_owned());
    assert_eq!(stream.stream_name(), "Flights_2013");
}
