//! The checked-in definitions are the generated ones, and say something about every field.

use millstream_crds::k8s::{definitions, files};
use serde_json::Value;

#[test]
fn the_checked_in_files_are_current() {
    for (path, content) in files() {
        let full = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
        let on_disk = std::fs::read_to_string(&full).expect("generated and checked in");
        assert!(on_disk == content, "{path} is stale: run `make gen`");
    }
}

#[test]
fn every_rule_says_what_is_wrong_and_where() {
    for definition in definitions() {
        let schema = &definition.object["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut seen = 0;
        assert_rules_speak(schema, "", &mut seen);
        assert!(seen >= 5, "only {seen} rules in {}", definition.file_name);
    }
}

fn assert_rules_speak(value: &Value, path: &str, seen: &mut usize) {
    let rules = value["x-kubernetes-validations"].as_array();
    for rule in rules.into_iter().flatten() {
        *seen += 1;
        let message = rule["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{path}: a rule without a message");
        let points = rule["fieldPath"].is_string() || path.starts_with(".spec.");
        assert!(points, "{path}: {message:?} names no field");
    }
    for (name, field) in value["properties"].as_object().into_iter().flatten() {
        assert_rules_speak(field, &format!("{path}.{name}"), seen);
    }
}

#[test]
fn every_field_has_a_description() {
    for definition in definitions() {
        let schema = &definition.object["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut seen = 0;
        assert_described(schema, "", &mut seen);
        assert!(seen >= 20, "only {seen} fields in {}", definition.file_name);
    }
}

fn assert_described(schema: &Value, path: &str, seen: &mut usize) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            *seen += 1;
            let text = property["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{path}.{name} has no description");
            assert_described(property, &format!("{path}.{name}"), seen);
        }
    }
    if schema["items"].is_object() {
        assert_described(&schema["items"], &format!("{path}[]"), seen);
    }
}
