//! What stands before the service: by path and peer it decides who may call what, how long a message
//! may be and how long a call may take, before a byte of the request is read.
//!
//! A process without a certificate may ask for one and do nothing else. One that has a certificate
//! needs none: it asks for the next one as it asked for the first.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, ready};
use millstream_clock::task;
use millstream_link::grpc::MESSAGE_BYTES_MAX;
use millstream_link::{Identity, PeerIdentity, Role};
use tonic::Status;
use tonic::codegen::{Body, Service, StdError, http};

use super::ContractServer;
use crate::attach::wire::proto::contract_server;

/// Largest request for a certificate, in bytes: a token, a name and a key, with room.
pub const SIGN_BYTES_MAX: usize = 64 * 1024;
/// How long a request for a certificate may take, sending it included. No server waits longer.
pub const SIGN_WITHIN: Duration = Duration::from_secs(10);
/// Largest request of a gateway's client, in bytes: the specification of one stream, with room.
pub const CONTROL_BYTES_MAX: usize = 1024 * 1024;

type Generated = contract_server::ContractServer<ContractServer>;

/// The contract's service. Clones are the same.
#[derive(Clone)]
pub struct Door {
    attach: Generated,
    sign: Generated,
    control: Generated,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Door")
    }
}

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Attach,
    Sign,
    Control,
}

impl Door {
    pub(super) fn new(server: ContractServer) -> Self {
        let server = Arc::new(server);
        let taking = |bytes: usize| {
            contract_server::ContractServer::from_arc(Arc::clone(&server))
                .max_decoding_message_size(bytes)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        };
        Self {
            // a report has as many bytes as its streams have groups: what it holds is looked at
            attach: taking(MESSAGE_BYTES_MAX),
            sign: taking(SIGN_BYTES_MAX),
            control: taking(CONTROL_BYTES_MAX),
        }
    }
}

/// What is called, if that peer may call it.
fn admitted(path: &str, peer: Option<&Identity>) -> Result<Call, Status> {
    let name = path.strip_prefix('/');
    let name = name.and_then(|path| path.strip_prefix(contract_server::SERVICE_NAME));
    let (call, roles) = match name.and_then(|path| path.strip_prefix('/')) {
        Some("SignCertificate") if peer.is_none() => return Ok(Call::Sign),
        Some("SignCertificate") => {
            let text = "ask for a certificate without showing one";
            return Err(Status::permission_denied(text));
        },
        Some("Attach") => (Call::Attach, &[Role::Gateway, Role::Shard][..]),
        Some("CreateStream" | "DeleteStream") => (Call::Control, &[Role::Gateway][..]),
        _ => return Err(Status::unimplemented("the contract has no such call")),
    };
    match peer {
        None => Err(Status::unauthenticated(
            "this call asks for a certificate of a process",
        )),
        Some(peer) if roles.contains(&peer.role()) => Ok(call),
        Some(peer) => Err(Status::permission_denied(format!(
            "the role {} may not call this",
            peer.role()
        ))),
    }
}

impl<B> Service<http::Request<B>> for Door
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let peer = request.extensions().get::<PeerIdentity>();
        match admitted(request.uri().path(), peer.and_then(PeerIdentity::known)) {
            Ok(Call::Attach) => self.attach.call(request),
            Ok(Call::Control) => self.control.call(request),
            Ok(Call::Sign) => in_time(self.sign.call(request)).boxed(),
            Err(status) => ready(Ok(status.into_http())).boxed(),
        }
    }
}

async fn in_time<F>(answer: F) -> Result<http::Response<tonic::body::Body>, Infallible>
where
    F: Future<Output = Result<http::Response<tonic::body::Body>, Infallible>>,
{
    task::timeout(SIGN_WITHIN, answer)
        .await
        .unwrap_or_else(|_| {
            let late = "the certificate was not signed in time, ask again";
            Ok(Status::deadline_exceeded(late).into_http())
        })
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn called(name: &str, role: Option<Role>) -> Result<Call, Code> {
        let path = format!("/{}/{name}", contract_server::SERVICE_NAME);
        let peer = role.map(|role| Identity::new("team-a", role, "pod-0").expect("an identity"));
        admitted(&path, peer.as_ref()).map_err(|status| status.code())
    }

    #[test]
    fn who_may_call_what() {
        let (gateway, shard) = (Some(Role::Gateway), Some(Role::Shard));
        let operator = Some(Role::Operator);
        for (name, role, expected) in [
            ("SignCertificate", None, Ok(Call::Sign)),
            ("SignCertificate", shard, Err(Code::PermissionDenied)),
            ("Attach", None, Err(Code::Unauthenticated)),
            ("Attach", shard, Ok(Call::Attach)),
            ("Attach", gateway, Ok(Call::Attach)),
            ("Attach", operator, Err(Code::PermissionDenied)),
            ("CreateStream", None, Err(Code::Unauthenticated)),
            ("CreateStream", shard, Err(Code::PermissionDenied)),
            ("CreateStream", gateway, Ok(Call::Control)),
            ("DeleteStream", shard, Err(Code::PermissionDenied)),
            ("DeleteStream", gateway, Ok(Call::Control)),
            ("Other", None, Err(Code::Unimplemented)),
            ("Other", gateway, Err(Code::Unimplemented)),
        ] {
            assert_eq!(called(name, role), expected, "{name} as {role:?}");
        }
        let elsewhere = admitted("/other.v1.Contract/SignCertificate", None);
        assert_eq!(elsewhere.expect_err("unknown").code(), Code::Unimplemented);
    }
}
