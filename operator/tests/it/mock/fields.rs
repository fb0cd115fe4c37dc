//! Who owns which field, and what server-side apply does with it. Lists count as one value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// The path of a field.
pub(crate) type Path = Vec<String>;

/// Fields by manager.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owners(BTreeMap<String, BTreeSet<Path>>);

/// What identifies an object and belongs to nobody.
const NOBODYS: [&[&str]; 8] = [
    &["apiVersion"],
    &["kind"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "uid"],
    &["metadata", "resourceVersion"],
    &["metadata", "generation"],
    &["metadata", "creationTimestamp"],
];

impl Owners {
    /// Applies `given` for `manager`; an error names the manager and the field in the way.
    pub(crate) fn apply(
        &mut self,
        object: &mut Value,
        given: &Value,
        manager: &str,
        force: bool,
    ) -> Result<(), String> {
        let wanted = leaves(given);
        for (path, value) in &wanted {
            for (other, fields) in &mut self.0 {
                let differs = get(object, path) != Some(value);
                if other == manager || !fields.contains(path) || !differs {
                    continue;
                }
                if !force {
                    let field = format!(".{}", path.join("."));
                    return Err(format!(
                        "Apply failed with 1 conflict: conflict with \"{other}\": {field}"
                    ));
                }
                fields.remove(path);
            }
        }
        let paths: BTreeSet<Path> = wanted.iter().map(|(path, _)| path.clone()).collect();
        let before = self.0.insert(manager.to_owned(), paths.clone());
        for gone in before.unwrap_or_default().difference(&paths) {
            let elsewhere = self.0.values().any(|fields| fields.contains(gone));
            if !elsewhere {
                remove(object, gone);
            }
        }
        for (path, value) in wanted {
            set(object, &path, value);
        }
        Ok(())
    }

    /// An update: whatever changed belongs to `manager` now.
    pub(crate) fn update(&mut self, old: &Value, new: &Value, manager: &str) {
        let changed: Vec<Path> = leaves(new)
            .into_iter()
            .filter(|(path, value)| get(old, path) != Some(value))
            .map(|(path, _)| path)
            .collect();
        for (other, fields) in &mut self.0 {
            if other != manager {
                fields.retain(|path| !changed.contains(path));
            }
        }
        self.0
            .entry(manager.to_owned())
            .or_default()
            .extend(changed);
    }

    /// `metadata.managedFields`, as far as our programs read it.
    pub(crate) fn to_json(&self) -> Value {
        let entries = self.0.iter().filter(|(_, fields)| !fields.is_empty());
        let entry = |(manager, fields): (&String, &BTreeSet<Path>)| {
            let mut tree = Map::new();
            for path in fields {
                let mut at = &mut tree;
                for part in path {
                    let next = at
                        .entry(format!("f:{part}"))
                        .or_insert_with(|| Value::Object(Map::new()));
                    at = next.as_object_mut().expect("only objects are put in");
                }
            }
            serde_json::json!({
                "manager": manager, "operation": "Apply", "fieldsType": "FieldsV1",
                "fieldsV1": tree,
            })
        };
        Value::Array(entries.map(entry).collect())
    }
}

/// Every field that is no object, with its path; an empty object is one too.
fn leaves(value: &Value) -> Vec<(Path, Value)> {
    let mut found = Vec::new();
    walk(value, &mut Vec::new(), &mut found);
    found.retain(|(path, _)| !NOBODYS.iter().any(|own| path.iter().eq(own.iter())));
    found
}

fn walk(value: &Value, path: &mut Path, found: &mut Vec<(Path, Value)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                path.push(name.clone());
                walk(field, path, found);
                path.pop();
            }
        },
        other => found.push((path.clone(), other.clone())),
    }
}

pub(crate) fn get<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |at, part| at.get(part))
}

pub(crate) fn set(value: &mut Value, path: &[String], new: Value) {
    let mut at = value;
    for part in path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let fields = at.as_object_mut().expect("it was just made one");
        at = fields.entry(part.clone()).or_insert(Value::Null);
    }
    *at = new;
}

pub(crate) fn remove(value: &mut Value, path: &[String]) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let parent = parents.iter().try_fold(value, |at, part| at.get_mut(part));
    if let Some(fields) = parent.and_then(Value::as_object_mut) {
        fields.remove(last);
    }
}
