//! Signatures by others: botocore's in a file, `aws-sigv4`'s made here. Each is accepted, and none
//! is with a byte changed in what it covers.

#![expect(
    clippy::panic,
    clippy::unwrap_in_result,
    reason = "helpers of tests, outside of any test function"
)]

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SessionTokenMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use millstream_protocol::sigv4::{AccessKey, Authorization, Policy, RequestHead, Secret};
use millstream_protocol::{ErrorCode, ServiceError};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "tok/en+==";
/// 2026-01-01T00:00:00Z, the time from which the requests' dates count.
const START_SECONDS: u64 = 1_767_225_600;
/// Requests by each signer.
const REQUESTS: usize = 1000;

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
struct Sent {
    method: Vec<u8>,
    path: Vec<u8>,
    query: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    token: bool,
    now_ms: u64,
}

impl Sent {
    fn verified(&self) -> Result<AccessKey, ServiceError> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("ASCII");
        let (method, path) = (text(&self.method), text(&self.path));
        let query = self.query.as_deref().map(text);
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let head = RequestHead {
            method: &method,
            path: &path,
            query: query.as_deref(),
            authority: None,
            headers: &headers,
        };
        let policy = Policy {
            region: "us-east-1",
            now_ms: self.now_ms,
            unsigned_body: false,
        };
        let key = AccessKey {
            id: KEY.to_owned(),
            secret: Secret::new(SECRET.to_owned()),
            account: "000000000000".parse().expect("an account"),
            session_token: self.token.then(|| Secret::new(TOKEN.to_owned())),
        };
        let find = |id: &str| (id == KEY).then_some(key);
        Authorization::read(&head)?.verify(&head, &self.body, &policy, find)
    }

    fn header(&mut self, name: &str) -> Option<&mut Vec<u8>> {
        let mut headers = self.headers.iter_mut();
        headers
            .find(|(found, _)| found == name)
            .map(|(_, value)| value)
    }

    /// The names of the signed headers.
    fn signed(&mut self) -> Vec<String> {
        let text = match (self.header("authorization").cloned(), &self.query) {
            (Some(value), _) => value,
            (None, Some(query)) => query.clone(),
            (None, None) => panic!("not signed"),
        };
        let text = String::from_utf8(text).expect("ASCII");
        let (_, names) = text.split_once("SignedHeaders=").expect("there");
        let names = names.split([',', '&']).next().expect("there");
        names
            .replace("%3B", ";")
            .split(';')
            .map(str::to_owned)
            .collect()
    }

    /// Tells `seen` about every request that differs in one byte of what is signed.
    fn each_change(&self, rng: &mut TestRng, mut seen: impl FnMut(&Self, &str)) {
        let mut parts: Vec<(String, Part)> = vec![
            ("method".to_owned(), Box::new(|sent| Some(&mut sent.method))),
            ("path".to_owned(), Box::new(|sent| Some(&mut sent.path))),
            ("query".to_owned(), Box::new(|sent| sent.query.as_mut())),
            ("body".to_owned(), Box::new(|sent| Some(&mut sent.body))),
        ];
        for name in self.clone().signed() {
            let part = name.clone();
            parts.push((name, Box::new(move |sent| sent.header(&part))));
        }
        for (name, part) in parts {
            let Some(original) = part(&mut self.clone()).cloned() else {
                continue;
            };
            let blanks = |byte: &&u8| matches!(byte, b' ' | b'\t');
            let start = original.iter().take_while(blanks).count();
            let end = original.len() - original.iter().rev().take_while(blanks).count();
            for at in start..end.max(start) {
                let mut changed = self.clone();
                let bytes = part(&mut changed).expect("there");
                bytes[at] = other_byte(rng, bytes[at]);
                seen(&changed, &format!("byte {at} of {name}"));
            }
        }
        let mut changed = self.clone();
        if let Some(value) = changed.header("authorization") {
            let length = value.len();
            for at in length - 64..length {
                let mut changed = self.clone();
                let value = changed.header("authorization").expect("there");
                value[at] = other_byte(rng, value[at]);
                seen(&changed, &format!("byte {at} of the signature"));
            }
        }
    }
}

type Part = Box<dyn Fn(&mut Sent) -> Option<&mut Vec<u8>>>;

/// Another byte that can stand in a request line: visible, no `#`, no `?`.
fn other_byte(rng: &mut TestRng, byte: u8) -> u8 {
    loop {
        let other = b'!' + u8::try_from(rng.next_u32() % 94).expect("below 94");
        if other != byte && !matches!(other, b'#' | b'?') {
            return other;
        }
    }
}

fn rng() -> TestRng {
    TestRng::from_seed(RngAlgorithm::ChaCha, &[4; 32])
}

/// Accepts `sent`, and refuses it with any byte changed; gives the number of changes.
fn held(sent: &Sent, rng: &mut TestRng) -> usize {
    if let Err(error) = sent.verified() {
        panic!("{error}\n{sent:?}");
    }
    let mut changes = 0;
    sent.each_change(rng, |changed, what| {
        changes += 1;
        let Err(error) = changed.verified() else {
            panic!("{what} may be changed: {changed:?}");
        };
        assert!(
            matches!(
                error.code,
                ErrorCode::InvalidSignature
                    | ErrorCode::IncompleteSignature
                    | ErrorCode::MissingAuthenticationToken
                    | ErrorCode::UnrecognizedClient
            ),
            "{error}"
        );
    });
    changes
}

/// Reads a line of `botocore.jsonl`; `sign.py` says what its members are.
fn recorded(line: &str) -> Sent {
    let line: Value = serde_json::from_str(line).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let name = |short: &str| match short {
        "o" => "host".to_owned(),
        "c" => "content-type".to_owned(),
        "t" => "x-amz-target".to_owned(),
        "x" => "x-amz-date".to_owned(),
        "a" => "authorization".to_owned(),
        full => full.to_owned(),
    };
    let query = text(&line["q"]);
    let headers = line["h"].as_array().expect("a list").iter();
    let path = line.get("p").map_or_else(|| "/".to_owned(), text);
    Sent {
        method: b"POST".to_vec(),
        path: path.into_bytes(),
        query: (!query.is_empty()).then(|| query.into_bytes()),
        headers: headers
            .map(|pair| (name(&text(&pair[0])), text(&pair[1]).into_bytes()))
            .collect(),
        body: text(&line["b"]).into_bytes(),
        token: line.get("t").is_some(),
        now_ms: START_SECONDS * 1000 + 150_000,
    }
}

#[test]
fn requests_signed_by_botocore_are_accepted_and_changed_ones_are_not() {
    let lines = include_str!("../vectors/botocore.jsonl").lines();
    let (mut rng, mut requests, mut changes) = (rng(), 0, 0);
    for line in lines {
        changes += held(&recorded(line), &mut rng);
        requests += 1;
    }
    assert_eq!(requests, REQUESTS);
    assert!(changes > 100 * REQUESTS, "{changes}");
}

/// What one request of `aws-sigv4` is made of.
#[derive(Clone, Debug)]
struct Plan {
    path: String,
    pairs: Vec<(String, String)>,
    custom: Option<String>,
    body: Vec<u8>,
    token: bool,
    query_form: bool,
    seconds: u64,
}

fn plans() -> impl Strategy<Value = Plan> {
    let path = prop_oneof![
        3 => Just("/".to_owned()),
        1 => "(/([a-zA-Z0-9_~@:!$&'()*+,;=-]|%[2-6][0-9A-F]){1,6}){1,3}/?",
    ];
    let pair = ("[a-z][ -~é漢]{0,5}", "[ -~é漢]{0,8}");
    let custom = proptest::option::of(" {0,2}[a-z]{1,5}( {1,3}[a-z]{1,5}){0,2} {0,2}");
    let body = proptest::collection::vec(any::<u8>(), 0..60);
    let pairs = proptest::collection::vec(pair, 0..3);
    (
        path,
        pairs,
        custom,
        body,
        any::<bool>(),
        any::<bool>(),
        0_u64..300,
    )
        .prop_map(
            |(path, pairs, custom, body, token, query_form, seconds)| Plan {
                path,
                pairs,
                custom,
                body,
                token,
                query_form,
                seconds,
            },
        )
}

impl Plan {
    /// The query before it is signed.
    fn query(&self) -> String {
        let pairs = self.pairs.iter();
        let pairs: Vec<_> = pairs
            .map(|(name, value)| format!("{}={}", percent_encoded(name), percent_encoded(value)))
            .collect();
        pairs.join("&")
    }

    fn signed(&self) -> Sent {
        let token = self.token.then(|| TOKEN.to_owned());
        let identity = Credentials::new(KEY, SECRET, token, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.session_token_mode = SessionTokenMode::Include;
        if self.query_form {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(Duration::from_secs(299));
        }
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(START_SECONDS + self.seconds);
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("kinesis")
            .time(time)
            .settings(settings)
            .build()
            .expect("whole")
            .into();
        let mut headers = vec![
            ("host".to_owned(), "localhost:4566".to_owned()),
            (
                "content-type".to_owned(),
                "application/x-amz-json-1.1".to_owned(),
            ),
            (
                "x-amz-target".to_owned(),
                "Kinesis_20131202.PutRecord".to_owned(),
            ),
        ];
        headers.extend(
            self.custom
                .clone()
                .map(|value| ("x-custom".to_owned(), value)),
        );
        let mut query = self.query();
        let mark = if query.is_empty() { "" } else { "?" };
        let uri = format!("http://localhost:4566{}{mark}{query}", self.path);
        let named = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let body = SignableBody::Bytes(&self.body);
        let request = SignableRequest::new("POST", uri, named, body).expect("a request");
        let (instructions, _) = sign(request, &params).expect("signed").into_parts();
        for (name, value) in instructions.headers() {
            headers.push((name.to_owned(), value.to_owned()));
        }
        for (name, value) in instructions.params() {
            let mark = if query.is_empty() { "" } else { "&" };
            query.push_str(&format!("{mark}{name}={}", percent_encoded(value)));
        }
        Sent {
            method: b"POST".to_vec(),
            path: self.path.clone().into_bytes(),
            query: (!query.is_empty()).then(|| query.into_bytes()),
            headers: headers
                .into_iter()
                .map(|(name, value)| (name, value.into_bytes()))
                .collect(),
            body: self.body.clone(),
            token: self.token,
            now_ms: START_SECONDS * 1000 + 150_000,
        }
    }
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        },
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[test]
fn requests_signed_by_aws_sigv4_are_accepted_and_changed_ones_are_not() {
    let mut runner = TestRunner::new_with_rng(Config::default(), rng());
    let strategy = plans();
    let (mut rng, mut changes) = (rng(), 0);
    for _ in 0..REQUESTS {
        let tree = strategy.new_tree(&mut runner).expect("a plan");
        changes += held(&tree.current().signed(), &mut rng);
    }
    assert!(changes > 100 * REQUESTS, "{changes}");
}
