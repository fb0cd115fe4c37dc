//! The Kubernetes side: the definitions that the API server gets, as YAML.
//!
//! Only with the feature `k8s`. The schema comes from the structs and their attributes; this
//! module turns it into the files that `kubectl` and the chart take, and [`reference`] into a page for
//! people. Start with [`files`].

mod reference;

use kube::CustomResourceExt as _;
use serde_json::{Value, json};

pub use crate::data_stream::DataStreamResource;

/// The first line of every generated file.
const HEADER: &str = "# Generated from crds/src by `make gen`. Do not edit.\n";

/// One definition and its name among files.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The file's name, the same wherever it is written.
    pub file_name: &'static str,
    /// The object, as the API server takes it.
    pub object: Value,
}

impl Definition {
    /// The definition for `kubectl apply`.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        yaml(&self.object)
    }

    /// The definition as a template of the chart `millstream-crds`: Helm upgrades what is among the
    /// templates, and uninstalling keeps it, or every stream would go with its definition.
    #[must_use]
    pub fn to_template(&self) -> String {
        let mut object = self.object.clone();
        assert!(
            !object.to_string().contains("{{"),
            "two braces in {} would be read as a template",
            self.file_name
        );
        object["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
        object["metadata"]["labels"] = json!({
            "app.kubernetes.io/managed-by": "{{ .Release.Service }}",
            "app.kubernetes.io/name": "millstream-crds",
            "app.kubernetes.io/version": "{{ .Chart.AppVersion }}",
        });
        yaml(&object)
    }
}

fn yaml(object: &Value) -> String {
    let body = serde_yaml::to_string(object).expect("a JSON value is always valid YAML");
    format!("{HEADER}{body}")
}

/// Every custom resource definition of ours.
#[must_use]
pub fn definitions() -> Vec<Definition> {
    let crd = DataStreamResource::crd();
    let mut object = serde_json::to_value(crd).expect("a definition has string keys only");
    drop_nullable(&mut object);
    vec![Definition {
        file_name: "datastreams.millstream.dev.yaml",
        object,
    }]
}

/// Every generated file: its path from the root of the repository, and its content.
#[must_use]
pub fn files() -> Vec<(String, String)> {
    let definitions = definitions();
    let mut files = vec![(
        "docs/reference/crds.md".to_owned(),
        reference::page(&definitions),
    )];
    for definition in &definitions {
        let name = definition.file_name;
        files.push((format!("crds/generated/{name}"), definition.to_yaml()));
        files.push((
            format!("charts/millstream-crds/templates/{name}"),
            definition.to_template(),
        ));
    }
    files
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
