//! The table of malformed requests: its size and sources, and every row that needs no server,
//! through [`route()`], [`kinesis::decode`] and [`Reply::error`]. The same table is run over HTTP by
//! the server's tests.

mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use millstream_protocol::kinesis::{self, Operation};
use millstream_protocol::{Codec, Head, Reply, Routed, route};
use serde_json::Value;

use crate::in_cbor;
use table::{CLASSES, Row};

fn rows() -> Vec<Row> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "malformed"]
        .iter()
        .collect();
    table::read(Path::new(&folder))
}

/// The answer without a server, or none when the request is good so far.
fn answer(row: &Row) -> Option<Reply> {
    let body = Bytes::copy_from_slice(row.body.as_bytes());
    answer_to(row.content_type.as_deref(), row.target.as_deref(), &body)
}

fn answer_to(content_type: Option<&str>, target: Option<&str>, body: &Bytes) -> Option<Reply> {
    let head = Head {
        method: "POST",
        content_type,
        target,
        content_encoding: None,
        content_sha256: None,
    };
    match route(head, body) {
        Err(reply) => Some(reply),
        Ok(Routed { operation, codec }) => {
            let error = kinesis::decode(codec, operation, body).err()?;
            Some(Reply::error(codec, &error))
        },
    }
}

#[test]
fn there_are_rows_for_every_operation_and_class() {
    let rows = rows();
    assert!(rows.len() >= 120, "{} rows", rows.len());
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut names = std::collections::BTreeSet::new();
    for row in &rows {
        *counts.entry((&row.operation, &row.class)).or_default() += 1;
        assert!(names.insert(row.title()), "twice: {}", row.title());
    }
    for operation in Operation::ALL {
        let of_class = |class| counts.get(&(operation.name(), class)).copied().unwrap_or(0);
        let by_class = CLASSES.map(of_class);
        assert!(
            by_class.iter().all(|n| *n >= 1),
            "{} {by_class:?}",
            operation.name()
        );
        assert!(
            by_class.iter().sum::<usize>() >= 6,
            "{} {by_class:?}",
            operation.name()
        );
    }
}

#[test]
fn at_most_a_fifth_of_the_rows_is_guessed() {
    let rows = rows();
    let guessed = rows.iter().filter(|row| row.is_guess()).count();
    assert!(guessed * 5 <= rows.len(), "{guessed} of {}", rows.len());
    assert!(
        rows.iter().all(|row| row.source.len() >= 10),
        "a row without source"
    );
}

#[test]
fn malformed_requests_are_answered_as_on_aws() {
    let rows = rows();
    let mut wrong = Vec::new();
    for row in rows.iter().filter(|row| !row.needs_server) {
        let Some(reply) = answer(row) else {
            wrong.push(format!("{}: no error", row.title()));
            continue;
        };
        let found = (
            reply.status,
            reply.content_type,
            String::from_utf8_lossy(&reply.body),
        );
        let wanted = (
            row.status,
            row.answer_type,
            String::from_utf8_lossy(&row.answer),
        );
        if found != wanted {
            wrong.push(format!(
                "{}\n  wanted {wanted:?}\n  found  {found:?}",
                row.title()
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn malformed_requests_in_cbor_are_answered_like_those_in_json() {
    let mut compared = 0;
    for row in rows().iter().filter(|row| !row.needs_server) {
        let Ok(body) = serde_json::from_str::<Value>(&row.body) else {
            continue;
        };
        let spoken = row.content_type.as_deref().unwrap_or_default();
        let spoken = spoken.split(';').next().unwrap_or_default().trim();
        // There is no base64 in CBOR.
        if spoken != Codec::Json.content_type() || row.answer.windows(7).any(|at| at == b" a Blob")
        {
            continue;
        }
        let content_type = Some(Codec::Cbor.content_type());
        let body = Bytes::from(in_cbor::from_json(&body));
        let reply = answer_to(content_type, row.target.as_deref(), &body);
        let reply = reply.unwrap_or_else(|| panic!("{}: no error", row.title()));
        assert_eq!(reply.content_type, content_type, "{}", row.title());
        assert_eq!(reply.status, row.status, "{}", row.title());
        let wanted: Value = serde_json::from_slice(&row.answer).expect("JSON");
        assert_eq!(in_cbor::to_json(&reply.body), wanted, "{}", row.title());
        compared += 1;
    }
    assert!(compared >= 100, "{compared} rows");
}

#[test]
fn rows_for_a_server_are_good_until_they_reach_it() {
    for row in rows().iter().filter(|row| row.needs_server) {
        assert_eq!(answer(row), None, "{}", row.title());
    }
}
