//! The HTTP front: connections, bodies against memory budgets, credentials, the typed operations,
//! the one map from errors to AWS's codes, request metrics.
//!
//! A request goes through `service`: its body is read (`body`, `lanes`), the wire layer says which
//! operation it is, `auth` says whose (`credentials` are the keys), `handlers` does it with typed values, `errors` maps what
//! went wrong. `connection` and `watch` cut what is slow; `tls` is around some of the sockets. It must not know files, manifests or
//! Kubernetes. Start with [`Gateway`].

mod auth;
mod body;
pub mod cloudwatch;
mod connection;
mod credentials;
mod errors;
mod handlers;
mod io;
mod lanes;
mod listener;
mod meters;
mod options;
mod reply;
mod request_id;
mod service;
mod tls;
mod watch;

pub use auth::Auth;
pub use credentials::Credentials;
pub use listener::{Drained, Gateway, Listeners};
pub use options::{Budgets, CONNECTIONS_MAX, Options, Timeouts};
pub use tls::{TlsError, TlsKeys};
