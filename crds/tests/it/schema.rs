//! The table of manifests against the generated definition: its schema and its CEL rules, offline.
//!
//! The API server checks structure itself and CEL through its engine. Here the few structural
//! keywords that our definitions use are checked by [`check`], which refuses to meet a keyword it
//! does not know; the rules run in `kube-cel`. A real API server gets the same table from
//! `e2e/apiserver/`.

#![expect(
    clippy::panic,
    reason = "helpers of tests, outside of any test function"
)]

use kube_cel::Validator;
use millstream_crds::k8s::definitions;
use serde_json::{Map, Value, json};

use crate::manifests::{Judge, Row, table};

/// What the API server accepts in `metadata`.
const METADATA_FIELDS: [&str; 14] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

#[test]
fn the_definition_gives_the_verdict_of_the_table() {
    let definition = definitions().remove(0).object;
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    for row in table()
        .into_iter()
        .filter(|row| row.by != Some(Judge::Server))
    {
        let errors = verdict(&definition, schema, &row);
        match &row.field {
            None => assert!(errors.is_empty(), "{}: {errors:?}", row.case),
            Some(field) => assert!(
                errors.iter().any(|error| error.starts_with(field)),
                "{}: nothing points at {field}: {errors:?}",
                row.case
            ),
        }
    }
}

#[test]
fn every_cel_rule_compiles() {
    let definition = definitions().remove(0).object;
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let compiled = kube_cel::compile_schema(schema);
    assert!(
        !compiled.has_errors(),
        "{:?}",
        compiled.compilation_errors()
    );
}

fn verdict(definition: &Value, schema: &Value, row: &Row) -> Vec<String> {
    let prepare = |value: &serde_yaml::Value| {
        let mut object = serde_json::to_value(value).expect("string keys only");
        prune_nulls(&mut object);
        kube_cel::apply_defaults(schema, &object)
    };
    let object = prepare(&row.manifest);
    let mut errors = Vec::new();
    check_envelope(definition, &object, &mut errors);
    check(schema, &object, "", &mut errors);
    // As on the server: rules see only what has the right structure.
    if errors.is_empty() {
        let old = row.old.as_ref().map(prepare);
        if let Err(broken) = Validator::new().validate(schema, &object, old.as_ref()) {
            errors.extend(broken.into_vec().into_iter().map(|error| {
                let path = error.field_path.trim_start_matches('.').to_owned();
                format!("{path}: {}", error.message)
            }));
        }
    }
    errors
}

/// What the API server asks of any object, whatever its schema.
fn check_envelope(definition: &Value, object: &Value, errors: &mut Vec<String>) {
    let spec = &definition["spec"];
    let group = spec["group"].as_str().expect("a group");
    let version = spec["versions"][0]["name"].as_str().expect("a version");
    if object["apiVersion"] != json!(format!("{group}/{version}")) {
        errors.push("apiVersion: no such version".to_owned());
    }
    if object["kind"] != spec["names"]["kind"] {
        errors.push("kind: no such kind".to_owned());
    }
    let nothing = Map::new();
    let metadata = object["metadata"].as_object().unwrap_or(&nothing);
    for field in metadata
        .keys()
        .filter(|key| !METADATA_FIELDS.contains(&key.as_str()))
    {
        errors.push(format!("metadata.{field}: unknown field"));
    }
    let name = metadata
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
    if name.len() > 253 || !matches(name, &format!("^{label}(\\.{label})*$")) {
        errors.push(format!("metadata.name: {name:?}"));
    }
    if let Some(namespace) = metadata.get("namespace").and_then(Value::as_str)
        && (namespace.len() > 63 || !matches(namespace, &format!("^{label}$")))
    {
        errors.push(format!("metadata.namespace: {namespace:?}"));
    }
}

/// Structural validation, as the API server does it with `fieldValidation=Strict`.
fn check(schema: &Value, value: &Value, path: &str, errors: &mut Vec<String>) {
    let keywords = schema.as_object().expect("a schema is an object");
    for (keyword, limit) in keywords {
        let broken = match keyword.as_str() {
            "default" | "description" | "format" | "title" => false,
            "properties" | "additionalProperties" | "items" => false,
            "x-kubernetes-validations" | "x-kubernetes-list-map-keys" => false,
            "type" => !has_type(value, limit.as_str().expect("one type")),
            "enum" => !limit.as_array().expect("values").contains(value),
            "minimum" => value.as_f64() < limit.as_f64(),
            "maximum" => value.as_f64() > limit.as_f64(),
            "maxItems" => size(value.as_array().map(Vec::len)) > limit.as_f64(),
            "maxProperties" => size(value.as_object().map(Map::len)) > limit.as_f64(),
            "maxLength" => size(value.as_str().map(|s| s.chars().count())) > limit.as_f64(),
            "pattern" => value
                .as_str()
                .is_some_and(|text| !matches(text, limit.as_str().expect("a pattern"))),
            "required" => limit
                .as_array()
                .expect("names")
                .iter()
                .filter_map(Value::as_str)
                .any(|name| value.get(name).is_none() && push(errors, path, name, "required")),
            "x-kubernetes-list-type" => limit == "set" && has_repeats(value),
            unknown => panic!("{path}: teach this checker the keyword {unknown}"),
        };
        if broken && keyword != "required" {
            errors.push(format!("{path}: {keyword}"));
        }
    }
    check_children(schema, value, path, errors);
}

fn check_children(schema: &Value, value: &Value, path: &str, errors: &mut Vec<String>) {
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        if let Some(items) = schema.get("items") {
            check(items, item, &format!("{path}[{index}]"), errors);
        }
    }
    let (properties, additional) = (schema.get("properties"), schema.get("additionalProperties"));
    for (name, field) in value.as_object().into_iter().flatten() {
        let below = join(path, name);
        let envelope = path.is_empty() && ["apiVersion", "kind", "metadata"].contains(&&**name);
        match (properties.and_then(|all| all.get(name)), additional) {
            _ if envelope => {},
            (Some(schema), _) | (None, Some(schema)) => check(schema, field, &below, errors),
            (None, None) => errors.push(format!("{below}: unknown field")),
        }
    }
}

fn push(errors: &mut Vec<String>, path: &str, name: &str, keyword: &str) -> bool {
    errors.push(format!("{}: {keyword}", join(path, name)));
    true
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        other => panic!("teach this checker the type {other}"),
    }
}

fn size(count: Option<usize>) -> Option<f64> {
    count.map(|count| f64::from(u32::try_from(count).expect("a small test value")))
}

fn has_repeats(value: &Value) -> bool {
    let items = value.as_array().map_or(&[][..], Vec::as_slice);
    items
        .iter()
        .enumerate()
        .any(|(index, item)| items[..index].contains(item))
}

/// Whether `pattern` matches, asked of the rule engine (its regular expressions are RE2's, as the
/// API server's are).
fn matches(text: &str, pattern: &str) -> bool {
    let rule = format!("self.matches({})", json!(pattern));
    let schema = json!({"type": "string", "x-kubernetes-validations": [{"rule": rule}]});
    Validator::new()
        .validate(&schema, &json!(text), None)
        .is_ok()
}

fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(prune_nulls);
        },
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
    }
}
