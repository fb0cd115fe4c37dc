//! One table of manifests, two judges: `validate()` and the generated definition.

#[cfg(feature = "k8s")]
mod generated;
mod manifests;
#[cfg(feature = "cel")]
mod schema;
