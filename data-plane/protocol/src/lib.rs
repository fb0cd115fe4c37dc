//! The AWS wire: what a request means and what an answer looks like, without a socket.
//!
//! A gateway gives the head and the body of a request to [`route()`] and the body to
//! [`kinesis::decode`], gets a [`kinesis::Request`] of validated values, and turns the handler's
//! [`kinesis::Response`] or [`ServiceError`] into a [`Reply`]. Only JSON 1.1 is spoken yet; CBOR
//! comes as another [`Codec`], behind the same typed values. Nothing here knows HTTP libraries,
//! tasks, storage or streams. Whose request it is says [`sigv4`]; constraints come from [`model`].
//! Start with [`kinesis`].

pub mod document;
pub mod error;
pub mod json;
pub mod kinesis;
pub mod model;
pub mod reply;
pub mod route;
pub mod sigv4;

pub use error::{ErrorCode, ServiceError};
pub use reply::Reply;
pub use route::{Head, route};

/// How typed values are written as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// AWS JSON 1.1.
    Json,
}
