//! Generated files: checked in, never edited, complete.
//!
//! That they are current is asked where they are made: `crds/tests/it/generated.rs` for the custom
//! resources, the protocol crate's tests for the API coverage, `e2e/reference/` for the rest.

use crate::tree::Tree;

/// Folders with nothing but generated files.
const GENERATED: [&str; 2] = ["crds/generated/", "docs/reference/"];

/// Generated files whose head does not warn the one who would edit them.
pub(crate) fn without_header(tree: &Tree) -> Vec<String> {
    let has_header = |text: &str| {
        text.lines()
            .take(6)
            .any(|line| line.to_lowercase().contains("do not edit"))
    };
    let mut faults = Vec::new();
    for folder in GENERATED {
        let mut count = 0;
        for (path, text) in tree.matching(folder, "") {
            count += 1;
            if !has_header(text) {
                faults.push(format!("{path}: its head does not say: do not edit"));
            }
        }
        if count == 0 {
            faults.push(format!("{folder} is empty: run `make gen`"));
        }
    }
    faults
}

/// Fields of our custom resources without a description.
///
/// A property stands in the YAML as a key under `properties:`; its own keys follow, two blanks
/// deeper, and one of them must be `description`.
pub(crate) fn undescribed_fields(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in tree.matching("crds/generated/", ".yaml") {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            if line.trim_start().trim_start_matches("- ") != "properties:" {
                continue;
            }
            let depth = indent(line) + 2;
            for (name, body) in keys_below(&lines, index + 1, depth) {
                let described = body.iter().any(|line| {
                    indent(line) == depth + 2 && line.trim().starts_with("description:")
                });
                if !described {
                    faults.push(format!("{path}: {name} has no description"));
                }
            }
        }
    }
    faults
}

/// The keys at `depth` from line `start` on, each with the lines below it.
fn keys_below<'a>(
    lines: &'a [&'a str],
    start: usize,
    depth: usize,
) -> Vec<(&'a str, &'a [&'a str])> {
    let end = |from: usize, min: usize| {
        let below = lines[from..]
            .iter()
            .take_while(|line| indent(line) >= min)
            .count();
        from + below
    };
    let block_end = end(start, depth);
    let mut keys = Vec::new();
    let mut at = start;
    while at < block_end {
        let body_end = end(at + 1, depth + 1).min(block_end);
        keys.push((
            lines[at].trim().trim_end_matches(':'),
            &lines[at + 1..body_end],
        ));
        at = body_end;
    }
    keys
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

#[test]
fn a_generated_file_without_a_header_is_caught() {
    let good = "# Generated from x by `make gen`. Do not edit.\na: 1\n";
    let tree = Tree::of(&[
        ("crds/generated/a.yaml", good),
        ("crds/generated/b.yaml", "a: 1\n"),
        ("docs/reference/c.md", good),
    ]);
    assert_eq!(without_header(&tree).len(), 1);
}

#[test]
fn a_field_without_a_description_is_caught() {
    let text = "schema:\n  properties:\n    spec:\n      description: d\n      properties:\n        \
                bare:\n          type: string\n        full:\n          description: d\n  type: o\n";
    let found = undescribed_fields(&Tree::of(&[("crds/generated/a.yaml", text)]));
    assert_eq!(found, ["crds/generated/a.yaml: bare has no description"]);
}
