//! Cargo manifests: versions and lints live in the root, crates inherit both.

use crate::tree::Tree;

/// Keys that a package takes from the workspace.
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];

/// Crates that stand outside the workspace and carry their own versions.
const OUTSIDE: [&str; 1] = ["e2e/clients/rust/Cargo.toml"];

/// Manifests that set what the root should set.
pub(crate) fn faults(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in tree.matching("", "/Cargo.toml") {
        if OUTSIDE.contains(&path) {
            continue;
        }
        for key in INHERITED {
            if !text.contains(&format!("\n{key}.workspace = true\n")) {
                faults.push(format!("{path}: write `{key}.workspace = true`"));
            }
        }
        if !text.contains("\n[lints]\nworkspace = true\n") {
            faults.push(format!("{path}: write `workspace = true` under [lints]"));
        }
        faults.extend(own_versions(path, text));
    }
    faults
}

/// Dependencies that do not come from `[workspace.dependencies]`.
fn own_versions(path: &str, text: &str) -> Vec<String> {
    let mut in_dependencies = false;
    let mut faults = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_dependencies = line.trim_matches(['[', ']']).ends_with("dependencies");
        } else if in_dependencies
            && !line.is_empty()
            && !line.starts_with('#')
            && !line.contains("workspace = true")
        {
            faults.push(format!(
                "{path}: `{line}` belongs in the root's [workspace.dependencies]"
            ));
        }
    }
    faults
}

#[test]
fn a_version_in_a_crate_is_caught() {
    let head = "[package]\nname = \"x\"\nversion.workspace = true\nedition.workspace = true\n\
                rust-version.workspace = true\nlicense.workspace = true\n\
                publish.workspace = true\n";
    let good = format!("{head}\n[lints]\nworkspace = true\n\n[dependencies]\na.workspace = true\n");
    let version = good.replace("a.workspace = true", "a = \"1\"");
    let lints = good.replace("[lints]\nworkspace = true\n", "");
    assert_eq!(
        faults(&Tree::of(&[("x/Cargo.toml", &good)])),
        Vec::<String>::new()
    );
    assert_eq!(faults(&Tree::of(&[("x/Cargo.toml", &version)])).len(), 1);
    assert_eq!(faults(&Tree::of(&[("x/Cargo.toml", &lints)])).len(), 1);
}
