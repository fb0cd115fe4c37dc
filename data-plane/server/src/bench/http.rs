//! A server under load over HTTP/1.1 with kept connections, from outside: ours, or any other that
//! speaks the Kinesis API. The signature is well formed but made of zeros, which is enough for a
//! server in loopback mode.

pub(crate) mod child;
pub(crate) mod connection;
pub(crate) mod endpoint;
pub(crate) mod load;
pub(crate) mod read;
pub(crate) mod requests;
pub(crate) mod restart;
pub(crate) mod stream;
