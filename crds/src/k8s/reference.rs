//! The definitions as a page for people: fields, types, ranges, defaults, rules, columns.

use serde_json::Value;

use super::Definition;
use crate::annotations;

/// The keywords that limit a value, and how a page says them.
const LIMITS: [(&str, &str); 7] = [
    ("minimum", "at least"),
    ("maximum", "at most"),
    ("minLength", "characters, at least"),
    ("maxLength", "characters, at most"),
    ("maxItems", "items, at most"),
    ("maxProperties", "entries, at most"),
    ("pattern", "matches"),
];

/// The page of all definitions.
pub(super) fn page(definitions: &[Definition]) -> String {
    let mut page = "<!-- Generated from crds/src by `make gen`. Do not edit. -->\n\n\
         # Custom resources\n\n\
         What a manifest may say, and what the operator reports back. A manifest that breaks a rule \
         is refused by the API server, with the field and the fix.\n"
        .to_owned();
    for definition in definitions {
        resource(&definition.object, &mut page);
    }
    page.push_str("\n## Annotations\n\n| annotation | value | what it does |\n|---|---|---|\n");
    for (name, value, meaning) in annotations::ALL {
        page.push_str(&format!("| `{name}` | `{value}` | {meaning} |\n"));
    }
    page
}

fn resource(definition: &Value, page: &mut String) {
    let spec = &definition["spec"];
    let version = &spec["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let names = &spec["names"];
    let kind = text(&names["kind"]);
    let api_version = format!("{}/{}", text(&spec["group"]), text(&version["name"]));
    page.push_str(&format!(
        "\n## {kind}\n\n`apiVersion: {api_version}`, `kind: {kind}`. {}\n\n\
         `kubectl get {}` (short: {}; with the others of ours: {}).\n",
        text(&schema["description"]),
        text(&names["plural"]),
        words(&names["shortNames"]),
        words(&names["categories"]),
    ));
    for part in ["spec", "status"] {
        let fields = &schema["properties"][part];
        page.push_str(&format!(
            "\n### {kind}.{part}\n\n{}\n\n",
            text(&fields["description"])
        ));
        page.push_str("| field | type | default | meaning |\n|---|---|---|---|\n");
        rows(fields, "", page);
    }
    page.push_str(&format!("\n### {kind}: rules between fields\n\n"));
    for holder in [schema, &schema["properties"]["spec"]] {
        for rule in list(&holder["x-kubernetes-validations"]) {
            page.push_str(&format!("- {}\n", text(&rule["message"])));
        }
    }
    page.push_str(&format!(
        "\n### {kind}: columns of `kubectl get`\n\n| column | from |\n|---|---|\n"
    ));
    for column in list(&version["additionalPrinterColumns"]) {
        let wide = match column["priority"].as_i64() {
            Some(1..) => " (with `-o wide`)",
            _ => "",
        };
        let (name, path) = (text(&column["name"]), text(&column["jsonPath"]));
        page.push_str(&format!("| {name}{wide} | `{path}` |\n"));
    }
    if version["subresources"]["scale"].is_object() {
        page.push_str(&format!(
            "\n`kubectl scale` and autoscalers set `{}`.\n",
            text(&version["subresources"]["scale"]["specReplicasPath"]).trim_start_matches('.')
        ));
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn words(value: &Value) -> String {
    let words: Vec<String> = list(value)
        .map(|word| format!("`{}`", plain(word)))
        .collect();
    words.join(", ")
}

fn rows(schema: &Value, path: &str, page: &mut String) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{name}");
        let default = match &field["default"] {
            Value::Null => String::new(),
            value => format!("`{}`", plain(value)),
        };
        let meaning = text(&field["description"]).replace('\n', " ");
        let kind = kind(field);
        page.push_str(&format!(
            "| `{path}` | {kind} | {default} | {meaning}{} |\n",
            limits(field)
        ));
        rows(&field["items"], &format!("{path}[]."), page);
    }
}

/// The type, and the words that are allowed.
fn kind(field: &Value) -> String {
    let name = match (&field["items"], &field["additionalProperties"]) {
        (Value::Object(items), _) => format!("list of {}", text(&items["type"])),
        (_, Value::Object(values)) => format!("map to {}", text(&values["type"])),
        _ => text(&field["type"]).to_owned(),
    };
    let words = if field["enum"].is_array() {
        &field["enum"]
    } else {
        &field["items"]["enum"]
    };
    let words = self::words(words);
    if words.is_empty() {
        name
    } else {
        format!("{name}: {words}")
    }
}

fn limits(field: &Value) -> String {
    let mut said: Vec<String> = LIMITS
        .iter()
        .filter(|(keyword, _)| !field[*keyword].is_null())
        .map(|(keyword, words)| format!("{words} `{}`", plain(&field[*keyword])))
        .collect();
    let rules = list(&field["x-kubernetes-validations"]);
    said.extend(rules.map(|rule| text(&rule["message"]).to_owned()));
    if said.is_empty() {
        String::new()
    } else {
        format!(" ({})", said.join("; "))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A value without quotes, and a whole number without a fraction.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string().trim_end_matches(".0").to_owned(),
    }
}
