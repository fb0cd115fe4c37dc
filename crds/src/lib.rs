//! The custom resources of Millstream as plain structs, each with a `validate()`.
//!
//! What it is for: one definition of `DataStream` for everyone who reads one: the `millstream`
//! program (manifests given with `-f`), the operator, and the API server, which gets the CRD that
//! is generated from it. What it must not know: the data plane, tokio, and (without the feature
//! `k8s`) kube. Start with [`DataStream`].
//!
//! A rule is written twice, once in Rust for [`DataStream::validate`] and once as schema and CEL
//! for the API server; one table of manifests in `tests/manifests/` holds both to one verdict.

pub mod annotations;
pub mod data_stream;
#[cfg(feature = "k8s")]
pub mod k8s;
pub mod meta;
mod text;
pub mod violation;

pub use data_stream::{DataStream, DataStreamSpec, DataStreamStatus};
pub use meta::{Condition, Metadata, TypeMeta};
pub use violation::Violation;

/// The API group of every resource of ours.
pub const GROUP: &str = "millstream.dev";
/// The version of the API that this build speaks.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` as it stands in a manifest.
pub const API_VERSION: &str = "millstream.dev/v1alpha1";
/// Kinds that have a name but no implementation yet: a reader refuses them by name.
pub const PLANNED_KINDS: [&str; 3] = ["AnalyticsApp", "DeliveryStream", "VideoStream"];
