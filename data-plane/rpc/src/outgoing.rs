//! A request to append as it is sent: every attempt shares its records, and only says anew who is
//! meant.

use std::sync::Arc;

use bytes::{Buf, BufMut};
use prost::DecodeError;
use prost::encoding::{self, DecodeContext, WireType};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Response, Status};
use tonic_prost::ProstCodec;

use crate::call::Client;
use crate::wire;

const PATH: &str = "/millstream.shards.v1.Shards/Append";

/// The appends of a call, and how they are split into parts.
#[derive(Debug, Default)]
pub(crate) struct Appends {
    pub(crate) appends: Vec<wire::Append>,
    pub(crate) parts: Vec<u32>,
}

/// An `AppendRequest` on the wire.
#[derive(Debug, Default)]
struct Outgoing {
    target: wire::Target,
    shared: Arc<Appends>,
}

impl prost::Message for Outgoing {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        encoding::message::encode(1, &self.target, buf);
        encoding::message::encode_repeated(2, &self.shared.appends, buf);
        encoding::uint32::encode_packed(3, &self.shared.parts, buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        // it is sent and never read
        encoding::skip_field(wire_type, tag, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        encoding::message::encoded_len(1, &self.target)
            + encoding::message::encoded_len_repeated(2, &self.shared.appends)
            + encoding::uint32::encoded_len_packed(3, &self.shared.parts)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Sends it.
pub(crate) async fn append(
    client: &Client,
    target: wire::Target,
    shared: Arc<Appends>,
) -> Result<Response<wire::AppendReply>, Status> {
    let mut grpc = client.grpc();
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::unknown(error.to_string()))?;
    let request = tonic::Request::new(Outgoing { target, shared });
    let codec = ProstCodec::<Outgoing, wire::AppendReply>::default();
    let path = PathAndQuery::from_static(PATH);
    grpc.unary(request, path, codec).await
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message as _;

    use super::*;

    #[test]
    fn it_reads_as_the_message_of_the_protocol() {
        let target = wire::Target {
            group: "a/p/0".to_owned(),
            epoch: 7,
        };
        let append = |shard: u8| wire::Append {
            shard: Bytes::from(vec![shard; 16]),
            records: vec![wire::NewRecord {
                key: Bytes::from_static(b"key"),
                data: Bytes::from(vec![shard; 300]),
            }],
        };
        for parts in [vec![], vec![2, 1], vec![300; 200]] {
            let shared = Appends {
                appends: (0..3).map(append).collect(),
                parts: parts.clone(),
            };
            let outgoing = Outgoing {
                target: target.clone(),
                shared: Arc::new(shared),
            };
            let sent = outgoing.encode_to_vec();
            assert_eq!(sent.len(), outgoing.encoded_len());
            let read = wire::AppendRequest::decode(sent.as_slice()).expect("a request");
            let expected = wire::AppendRequest {
                target: Some(target.clone()),
                appends: (0..3).map(append).collect(),
                parts,
            };
            assert_eq!(read, expected);
        }
    }
}
