//! Which crate may depend on which: arrows point inward.
//!
//! `types <- clock <- storage <- stream <- gateway <- server`, with `protocol`, `link`, `control`
//! and `chassis` beside them; `docs/adr/0001-crate-arrows.md` says why.

use std::process::Command;

use serde_json::Value;

use crate::tree::root;

/// Every crate of the workspace and what of ours it may depend on.
const ALLOWED: [(&str, &[&str]); 14] = [
    ("types", &[]),
    ("clock", &["types"]),
    ("crds", &[]),
    ("link", &["types", "clock"]),
    ("control", &["types", "clock", "link"]),
    ("protocol", &["types"]),
    ("storage", &["types", "clock"]),
    ("stream", &["types", "clock", "storage"]),
    ("rpc", &["types", "clock", "link", "stream"]),
    (
        "gateway",
        &["types", "clock", "control", "chassis", "protocol", "stream"],
    ),
    ("chassis", &["types", "clock", "control"]),
    (
        "server",
        &[
            "types", "clock", "crds", "link", "control", "protocol", "storage", "stream", "rpc",
            "gateway", "chassis",
        ],
    ),
    ("operator", &["types", "clock", "crds", "control", "link"]),
    (
        "e2e",
        &[
            "types", "clock", "crds", "link", "control", "protocol", "storage", "stream", "rpc",
            "gateway", "chassis", "server", "operator",
        ],
    ),
];

/// What tests may use beyond that: a store to serve from.
const ALLOWED_IN_TESTS: [(&str, &str); 2] = [("gateway", "storage"), ("rpc", "storage")];

/// Heavy libraries and the only crates that may name them.
const HEAVY: [(&str, &[&str]); 4] = [
    // e2e: the simulation stands behind the operator's client.
    ("kube", &["crds", "operator", "e2e"]),
    ("k8s-openapi", &["crds", "operator", "e2e"]),
    ("kube-cel", &["crds"]),
    (
        "tonic",
        &["link", "control", "rpc", "operator", "server", "e2e"],
    ),
];

const PREFIX: &str = "millstream-";

/// What `cargo metadata` says about the workspace.
pub(crate) fn workspace() -> Value {
    let bytes = cargo(&["metadata", "--no-deps", "--locked", "--format-version", "1"]);
    serde_json::from_slice(&bytes).expect("cargo writes JSON")
}

/// What `cargo tree` says about the program that users run.
pub(crate) fn server_tree() -> String {
    let tree = &[
        "tree",
        "-p",
        "millstream-server",
        "-e",
        "normal",
        "--locked",
        "--prefix",
        "none",
    ];
    String::from_utf8(cargo(tree)).expect("cargo writes UTF-8")
}

fn cargo(args: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {args:?}: {errors}");
    output.stdout
}

/// Crates that depend on what they must not know.
pub(crate) fn faults(metadata: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let full_name = package["name"].as_str().unwrap_or_default();
        let name = full_name.trim_start_matches(PREFIX);
        let Some((_, allowed)) = ALLOWED.iter().find(|(crate_name, _)| *crate_name == name) else {
            faults.push(format!(
                "{full_name}: not in the table of e2e/tidy/edges.rs"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let target = dependency["name"].as_str().unwrap_or_default();
            let for_tests = |ours| ours == name || ALLOWED_IN_TESTS.contains(&(name, ours));
            let in_tests = dependency["kind"] == "dev";
            let may = |ours| allowed.contains(&ours) || (in_tests && for_tests(ours));
            let forbidden = match target.strip_prefix(PREFIX) {
                Some(ours) => !may(ours),
                None => HEAVY
                    .iter()
                    .any(|(heavy, may)| *heavy == target && !may.contains(&name)),
            };
            if forbidden {
                faults.push(format!("{full_name} may not depend on {target}"));
            }
        }
    }
    faults
}

/// Parts of Kubernetes in the server's dependencies.
pub(crate) fn kube_in_server(tree: &str) -> Vec<String> {
    let kube = |line: &&str| {
        let name = line.split(' ').next().unwrap_or_default();
        name == "kube" || name.starts_with("kube-") || name == "k8s-openapi"
    };
    tree.lines()
        .filter(kube)
        .map(|line| format!("millstream-server holds {line}"))
        .collect()
}

#[test]
fn an_outward_arrow_is_caught() {
    let metadata = serde_json::json!({"packages": [
        {"name": "millstream-storage", "dependencies": [
            {"name": "millstream-types", "kind": null},
            {"name": "millstream-gateway", "kind": null},
            {"name": "millstream-storage", "kind": "dev"},
            {"name": "kube", "kind": null},
        ]},
        {"name": "millstream-novel", "dependencies": []},
    ]});
    let found = faults(&metadata);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("millstream-gateway"), "{found:?}");
    assert!(found[1].contains("kube"), "{found:?}");
    assert!(found[2].contains("millstream-novel"), "{found:?}");
}

#[test]
fn kube_in_the_server_is_caught() {
    assert_eq!(
        kube_in_server("serde v1.0.0\nkube-core v5.0.0\nkubernetic v1.0.0\n").len(),
        1
    );
}
