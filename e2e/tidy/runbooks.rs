//! Runbooks: a page for each condition and each reason that the operator can give.

use crate::tree::Tree;

/// Where the operator names its conditions and reasons.
const STATUS: &str = "operator/src/controllers/data_stream/status.rs";
/// Where the pages are.
const PAGES: &str = "docs/runbooks/";
/// Pages that are about no single word.
const OTHER_PAGES: [&str; 2] = ["README", "Events"];
/// What a page tells, in this order.
const SECTIONS: [&str; 2] = ["## Look", "## Do"];

/// Conditions and reasons without a page, pages without either, and pages that lack a part.
pub(crate) fn faults(tree: &Tree) -> Vec<String> {
    let Some(source) = tree.text(STATUS) else {
        return vec![format!("{STATUS} is missing")];
    };
    let words = words(source);
    let mut faults = Vec::new();
    for word in &words {
        let path = format!("{PAGES}{word}.md");
        let Some(text) = tree.text(&path) else {
            faults.push(format!("{path} is missing: {STATUS} gives {word}"));
            continue;
        };
        for section in SECTIONS {
            if !text.lines().any(|line| line == section) {
                faults.push(format!("{path}: no section {section:?}"));
            }
        }
    }
    for (path, _) in tree.matching(PAGES, ".md") {
        let name = path.trim_start_matches(PAGES).trim_end_matches(".md");
        if !OTHER_PAGES.contains(&name) && !words.contains(&name) {
            faults.push(format!("{path}: {STATUS} gives no {name}"));
        }
    }
    faults
}

/// The words in `=> "Word"` of the reasons, and in `: &str = "Word"` of the conditions.
fn words(source: &str) -> Vec<&str> {
    source
        .lines()
        .filter_map(|line| {
            let (_, rest) = line
                .split_once("=> \"")
                .filter(|(head, _)| head.contains("Self::"))
                .or_else(|| line.split_once(": &str = \""))?;
            rest.split('"').next()
        })
        .collect()
}

#[test]
fn a_reason_without_a_page_is_caught() {
    let source =
        "pub const READY: &str = \"Ready\";\n Self::Full => \"Full\",\n other => \"no\",\n";
    let page = "# Ready\n## Look\n## Do\n";
    let tree = Tree::of(&[
        (STATUS, source),
        ("docs/runbooks/Ready.md", page),
        ("docs/runbooks/README.md", ""),
    ]);
    assert_eq!(faults(&tree).len(), 1, "{:?}", faults(&tree));
    let tree = Tree::of(&[
        (STATUS, source),
        ("docs/runbooks/Ready.md", page),
        ("docs/runbooks/Full.md", "# Full\n## Look\n"),
        ("docs/runbooks/Gone.md", page),
    ]);
    assert_eq!(faults(&tree).len(), 2, "{:?}", faults(&tree));
}
