//! The table of malformed requests, `tests/malformed/*.json`: one file for each operation, one row
//! for each request with the answer that AWS gives and where that was seen.
//!
//! Members of a row: `name`; `class`; `stage` (`decode` when absent: the answer needs no stream;
//! `server`: it needs a server of account 000000000000 in us-east-1 with one active stream `table`
//! of three shards and 10,000 shards allowed); `content_type` and `target` (AWS JSON and the
//! operation when absent, none when null); `body`; `status`, `type`, `message` (null: there is
//! none) and `form` of the answer (`json` when absent); `source`. In bodies and messages `<a*3>`
//! stands for `aaa`, and may be nested.

use std::path::Path;

use serde_json::{Map, Value};

/// What part of a request is malformed.
pub(crate) const CLASSES: [&str; 5] = ["target", "content-type", "json", "constraint", "semantics"];

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    /// What is malformed.
    pub(crate) name: String,
    /// The operation.
    pub(crate) operation: String,
    /// One of [`CLASSES`].
    pub(crate) class: String,
    /// Whether only a server can answer.
    pub(crate) needs_server: bool,
    /// Value of `content-type`.
    pub(crate) content_type: Option<String>,
    /// Value of `x-amz-target`.
    pub(crate) target: Option<String>,
    /// The request's body.
    pub(crate) body: String,
    /// The answer's status.
    pub(crate) status: u16,
    /// The answer's `content-type`.
    pub(crate) answer_type: Option<&'static str>,
    /// The answer's body.
    pub(crate) answer: Vec<u8>,
    /// Where the answer was seen.
    pub(crate) source: String,
}

impl Row {
    /// Operation and name, for messages of tests.
    pub(crate) fn title(&self) -> String {
        format!("{}: {}", self.operation, self.name)
    }

    /// Whether no public source has the answer.
    pub(crate) fn is_guess(&self) -> bool {
        self.source.starts_with("guess")
    }
}

/// All rows, from the folder `malformed`.
pub(crate) fn read(folder: &Path) -> Vec<Row> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder is checked in")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    let mut rows = Vec::new();
    for file in files {
        let stem = file
            .file_stem()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        let operation: String = stem.split('_').map(capital).collect();
        let text = std::fs::read_to_string(&file).expect("readable");
        let table: Vec<Map<String, Value>> = serde_json::from_str(&text).expect("a table");
        rows.extend(table.iter().map(|row| read_row(&operation, row)));
    }
    rows
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

fn read_row(operation: &str, row: &Map<String, Value>) -> Row {
    const MEMBERS: [&str; 11] = [
        "name",
        "class",
        "stage",
        "content_type",
        "target",
        "body",
        "status",
        "type",
        "message",
        "form",
        "source",
    ];
    for member in row.keys() {
        assert!(MEMBERS.contains(&&**member), "unknown member {member}");
    }
    let text = |member: &str| row.get(member).and_then(Value::as_str).map(str::to_owned);
    let needed = |member: &str| text(member).expect("every row has this member");
    let or_usual = |member: &str, usual: String| match row.get(member) {
        None => Some(usual),
        Some(value) => value.as_str().map(str::to_owned),
    };
    let class = needed("class");
    assert!(CLASSES.contains(&&*class), "unknown class {class}");
    let status = row["status"]
        .as_u64()
        .and_then(|status| u16::try_from(status).ok());
    let form = text("form").unwrap_or_else(|| "json".to_owned());
    let message = text("message").map(|message| expand(&message));
    let (answer_type, answer) = answer(&form, &needed("type"), message.as_deref());
    Row {
        name: needed("name"),
        operation: operation.to_owned(),
        needs_server: text("stage").is_some_and(|stage| stage == "server"),
        content_type: or_usual("content_type", "application/x-amz-json-1.1".to_owned()),
        target: or_usual("target", format!("Kinesis_20131202.{operation}")),
        body: expand(&needed("body")),
        status: status.expect("a status"),
        answer_type,
        answer,
        source: needed("source"),
        class,
    }
}

/// Content type and body of an answer, byte for byte.
fn answer(form: &str, code: &str, message: Option<&str>) -> (Option<&'static str>, Vec<u8>) {
    let quoted = |text: &str| Value::from(text).to_string();
    match (form, message) {
        ("json", None) => {
            let body = format!(r#"{{"__type":"{code}"}}"#);
            (Some("application/x-amz-json-1.1"), body.into())
        },
        ("json", Some(message)) => {
            let member = if code == "SerializationException" {
                "Message"
            } else {
                "message"
            };
            let body = format!(r#"{{"__type":"{code}","{member}":{}}}"#, quoted(message));
            (Some("application/x-amz-json-1.1"), body.into())
        },
        ("xml", None) => (None, format!("<{code}/>\n").into()),
        ("plain", None) => {
            let body = format!(
                r#"{{"Output":{{"__type":"com.amazon.coral.service#{code}"}},"Version":"1.0"}}"#
            );
            (Some("application/json"), body.into())
        },
        ("cbor", None) if code.len() < 24 => {
            let length = 0x60 + u8::try_from(code.len()).expect("short");
            let body = [b"\xa1\x66__type".as_slice(), &[length], code.as_bytes()].concat();
            (Some("application/x-amz-cbor-1.1"), body)
        },
        _ => unreachable!("no such answer: {form} {code} {message:?}"),
    }
}

/// Replaces `<text*count>` by so many of the text, from the inside out.
fn expand(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    // What stands before each open bracket that is still to be closed.
    let mut outer = Vec::new();
    while let Some(at) = rest.find(['<', '>']) {
        let (before, bracket) = rest.split_at(at);
        out.push_str(before);
        if bracket.starts_with('<') {
            outer.push(std::mem::take(&mut out));
        } else {
            let (unit, count) = out.rsplit_once('*').expect("<text*count>");
            let repeated = unit.repeat(count.parse().expect("a count"));
            out = outer.pop().expect("a bracket is open") + &repeated;
        }
        rest = bracket.get(1..).expect("after the bracket");
    }
    out + rest
}
