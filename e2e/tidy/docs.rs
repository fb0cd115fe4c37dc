//! Documents: what they point at exists, what they must cover is covered.

use crate::tree::Tree;

/// The states that a decision can be in.
const STATUSES: [&str; 4] = ["Proposed", "Accepted", "Superseded", "Rejected"];

/// The sections of a decision.
const DECISION_SECTIONS: [&str; 4] = [
    "## Context",
    "## Decision",
    "## Not chosen",
    "## How we would notice",
];

/// Links to files or headings that are not there.
pub(crate) fn broken_links(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in tree.matching("", ".md") {
        for target in links(text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let Some(resolved) = resolve(path, file) else {
                faults.push(format!("{path}: {target} leads out of the repository"));
                continue;
            };
            let has_anchor = || {
                let page = tree.text(&resolved).unwrap_or_default();
                headings(page).any(|heading| slug(heading) == anchor)
            };
            if !tree.contains(&resolved) || !(anchor.is_empty() || has_anchor()) {
                faults.push(format!("{path}: {target} leads nowhere"));
            }
        }
    }
    faults
}

/// Paths in backticks in the architecture page that are not in the tree.
pub(crate) fn missing_paths(tree: &Tree) -> Vec<String> {
    let page = "docs/ARCHITECTURE.md";
    let Some(text) = tree.text(page) else {
        return vec![format!("{page} is missing")];
    };
    let rooms = ["crds/", "data-plane/", "docs/", "e2e/"];
    let is_path = |code: &&str| rooms.iter().any(|room| code.starts_with(room));
    in_backticks(text)
        .filter(is_path)
        .filter(|code| !code.contains(['<', '*', '{', ' ']) && !tree.contains(code))
        .map(|code| format!("{page}: `{code}` is not there"))
        .collect()
}

/// Decisions without a status or a section.
pub(crate) fn decisions(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in tree.matching("docs/adr/", ".md") {
        let status = text.lines().find_map(|line| line.strip_prefix("Status: "));
        let known = |status: &str| {
            let status = status.to_lowercase();
            STATUSES
                .iter()
                .any(|known| status.starts_with(&known.to_lowercase()))
        };
        if !status.is_some_and(known) {
            faults.push(format!("{path}: write `Status: ` and one of {STATUSES:?}"));
        }
        for section in DECISION_SECTIONS {
            if !text.lines().any(|line| line.starts_with(section)) {
                faults.push(format!("{path}: no section {section:?}"));
            }
        }
    }
    faults
}

/// Format pages with a version that no golden file holds.
pub(crate) fn formats(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in tree.matching("docs/formats/", ".md") {
        let golden: Vec<&str> = in_backticks(text)
            .filter(|code| code.contains("golden/") && !code.contains('<'))
            .collect();
        if golden.is_empty() {
            faults.push(format!("{path}: names no golden file"));
        }
        for file in golden {
            if !tree.contains(file) {
                faults.push(format!("{path}: golden file `{file}` is not there"));
            }
        }
        for version in versions(text) {
            let held =
                |code: &str| code.contains("golden/") && code.contains(&format!("v{version}"));
            if !in_backticks(text).any(held) {
                faults.push(format!("{path}: version {version} has no golden file"));
            }
        }
    }
    faults
}

/// The versions that a format page describes: `version N` in any of its headings.
fn versions(page: &str) -> impl Iterator<Item = &str> {
    headings(page).filter_map(|heading| {
        let (_, rest) = heading.split_once("ersion ")?;
        rest.split(|c: char| !c.is_ascii_digit())
            .next()
            .filter(|digits| !digits.is_empty())
    })
}

/// The targets of `[text](target)`, outside of code.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines()
        .filter(move |line| {
            in_code ^= line.trim_start().starts_with("```");
            !in_code
        })
        .flat_map(|line| line.split('`').step_by(2))
        .flat_map(|prose| prose.split("](").skip(1))
        .filter_map(|rest| rest.split(')').next())
}

fn headings(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim())
}

/// The anchor that a Markdown renderer gives a heading.
fn slug(heading: &str) -> String {
    let keep = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => c.to_lowercase().next(),
        _ => None,
    };
    heading.chars().filter_map(keep).collect()
}

fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// `target`, written in `page`, as a path from the root; none if it leaves the repository.
fn resolve(page: &str, target: &str) -> Option<String> {
    if target.is_empty() {
        return Some(page.to_owned());
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {},
            ".." => {
                parts.pop()?;
            },
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[test]
fn a_link_to_nowhere_is_caught() {
    let text = "[a](b.md) [c](gone.md) [d](b.md#there) [e](b.md#gone) [f](https://x.test/)\n\
                ```\n[g](code.md)\n```\n[h](../../out.md)\n";
    let tree = Tree::of(&[("docs/a.md", text), ("docs/b.md", "# There\n")]);
    assert_eq!(broken_links(&tree).len(), 3);
}

#[test]
fn a_path_that_is_gone_is_caught() {
    let text = "`data-plane/a.rs` `data-plane/gone.rs` `data-plane/<any>/x.rs` `cargo test`";
    let tree = Tree::of(&[("docs/ARCHITECTURE.md", text), ("data-plane/a.rs", "")]);
    assert_eq!(missing_paths(&tree).len(), 1);
}

#[test]
fn a_decision_without_a_status_is_caught() {
    let good =
        "Status: Accepted, 2026\n## Context\n## Decision\n## Not chosen\n## How we would notice\n";
    let maybe = good.replace("Accepted", "Perhaps");
    let tree = Tree::of(&[("docs/adr/1.md", good), ("docs/adr/2.md", &maybe)]);
    assert_eq!(decisions(&tree).len(), 1);
}

#[test]
fn a_version_without_a_golden_file_is_caught() {
    let text = "# Frame, version 1\n`x/golden/frame-v1.bin`\n## Version 2\n";
    let tree = Tree::of(&[
        ("docs/formats/frame.md", text),
        ("x/golden/frame-v1.bin", ""),
    ]);
    assert_eq!(formats(&tree).len(), 1);
}
