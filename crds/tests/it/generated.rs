//! The checked-in definitions are the generated ones, and say something about every field.

use millstream_crds::k8s::definitions;
use serde_json::Value;

#[test]
fn the_checked_in_definitions_are_current() {
    for definition in definitions() {
        let path = format!(
            "{}/generated/{}",
            env!("CARGO_MANIFEST_DIR"),
            definition.file_name
        );
        let on_disk = std::fs::read_to_string(&path).expect("generated and checked in");
        assert_eq!(
            on_disk,
            definition.to_yaml(),
            "{path} is stale: run `make gen`"
        );
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
