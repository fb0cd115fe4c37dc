//! A definition as a page for people: its fields, their types, ranges, defaults and rules.

use serde_json::Value;

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

/// The page of one definition.
pub(super) fn page(definition: &Value) -> String {
    let spec = &definition["spec"];
    let version = &spec["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let kind = text(&spec["names"]["kind"]);
    let api_version = format!("{}/{}", text(&spec["group"]), text(&version["name"]));
    let mut page = format!(
        "<!-- Generated from crds/src by `make gen`. Do not edit. -->\n\n# {kind}\n\n\
         `apiVersion: {api_version}`, `kind: {kind}`. {}\n",
        text(&schema["description"])
    );
    for part in ["spec", "status"] {
        let fields = &schema["properties"][part];
        page.push_str(&format!(
            "\n## {part}\n\n{}\n\n",
            text(&fields["description"])
        ));
        page.push_str("| field | type | default | meaning |\n|---|---|---|---|\n");
        rows(fields, "", &mut page);
    }
    page.push_str("\n## Rules between fields\n\n");
    for holder in [schema, &schema["properties"]["spec"]] {
        for rule in holder["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
        {
            page.push_str(&format!("- {}\n", text(&rule["message"])));
        }
    }
    page
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
    let words: Vec<String> = words
        .as_array()
        .into_iter()
        .flatten()
        .map(|word| format!("`{}`", plain(word)))
        .collect();
    if words.is_empty() {
        name
    } else {
        format!("{name}: {}", words.join(", "))
    }
}

fn limits(field: &Value) -> String {
    let mut said: Vec<String> = LIMITS
        .iter()
        .filter(|(keyword, _)| !field[*keyword].is_null())
        .map(|(keyword, words)| format!("{words} `{}`", plain(&field[*keyword])))
        .collect();
    let rules = field["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten();
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
