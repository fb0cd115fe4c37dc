//! Requests, made before the measurement: bytes that need only be sent.

use bytes::Bytes;

use super::super::payload::Payload;
use super::endpoint::Endpoint;

/// A request of the Kinesis API as it goes over the wire.
pub(crate) fn request(endpoint: Endpoint, operation: &str, body: &str) -> Bytes {
    // any well-formed signature will do in loopback mode
    let text = format!(
        "POST / HTTP/1.1\r\n\
         host: {}\r\n\
         content-type: application/x-amz-json-1.1\r\n\
         x-amz-target: Kinesis_20131202.{operation}\r\n\
         x-amz-date: 20260101T000000Z\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/kinesis/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={:064}\r\n\
         content-length: {}\r\n\r\n{body}",
        endpoint.addr,
        0,
        body.len(),
    );
    Bytes::from(text)
}

/// `count` different PutRecord requests, or PutRecords of `batch` records each.
pub(crate) fn puts(
    endpoint: Endpoint,
    stream: &str,
    payload: &Payload,
    batch: usize,
    count: usize,
) -> Vec<Bytes> {
    let record = |number: usize| {
        let data = base64_simd::STANDARD.encode_to_string(payload.data(number));
        format!(r#""Data":"{data}","PartitionKey":"key-{number}""#)
    };
    let mut requests = Vec::with_capacity(count);
    for at in 0..count {
        requests.push(if batch == 1 {
            let body = format!(r#"{{"StreamName":"{stream}",{}}}"#, record(at));
            request(endpoint, "PutRecord", &body)
        } else {
            let records: Vec<String> = (0..batch)
                .map(|n| format!("{{{}}}", record(at * batch + n)))
                .collect();
            let body = format!(
                r#"{{"StreamName":"{stream}","Records":[{}]}}"#,
                records.join(",")
            );
            request(endpoint, "PutRecords", &body)
        });
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::super::connection::find;
    use super::*;

    #[test]
    fn a_request_tells_the_length_of_its_body() {
        let endpoint: Endpoint = "http://127.0.0.1:1".parse().expect("an endpoint");
        let puts = puts(endpoint, "s", &Payload::new(), 3, 2);
        for put in puts {
            let head = find(&put, b"\r\n\r\n").expect("a head") + 4;
            let body: serde_json::Value = serde_json::from_slice(&put[head..]).expect("JSON");
            assert_eq!(body["Records"].as_array().map(Vec::len), Some(3));
            let length = format!("content-length: {}\r\n", put.len() - head);
            assert!(find(&put[..head], length.as_bytes()).is_some());
        }
    }
}
