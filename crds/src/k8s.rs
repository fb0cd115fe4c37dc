//! The Kubernetes side: the definitions that the API server gets, as YAML.
//!
//! Only with the feature `k8s`. The schema comes from the structs and their attributes; this
//! module turns it into the files under `generated/`, and [`reference`] into pages for people.
//! Start with [`definitions`].

mod reference;

use kube::CustomResourceExt as _;
use serde_json::Value;

pub use crate::data_stream::DataStreamResource;

/// The first lines of every generated file.
const HEADER: &str = "# Generated from crds/src by `make gen`. Do not edit.\n";

/// One definition and the files it belongs in.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The file's name under `crds/generated/`.
    pub file_name: &'static str,
    /// The name of its page under `docs/reference/`.
    pub page_name: &'static str,
    /// The object, as the API server takes it.
    pub object: Value,
}

impl Definition {
    /// The content of the file.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let body = serde_yaml::to_string(&self.object).expect("a JSON value is always valid YAML");
        format!("{HEADER}{body}")
    }

    /// The page for people.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        reference::page(&self.object)
    }
}

/// Every custom resource definition of ours.
#[must_use]
pub fn definitions() -> Vec<Definition> {
    let crd = DataStreamResource::crd();
    let mut object = serde_json::to_value(crd).expect("a definition has string keys only");
    drop_nullable(&mut object);
    vec![Definition {
        file_name: "datastreams.millstream.dev.yaml",
        page_name: "data-stream.md",
        object,
    }]
}

/// Removes `nullable`, so that the API server prunes a null before it fills in defaults. A null
/// then means "absent", as it does for `validate()`, and no CEL rule ever meets one.
fn drop_nullable(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, field| !(key == "nullable" && field.is_boolean()));
            fields.values_mut().for_each(drop_nullable);
        },
        Value::Array(items) => items.iter_mut().for_each(drop_nullable),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
    }
}
