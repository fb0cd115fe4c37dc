//! The rules of the repository, as tests.
//!
//! `docs/STYLE.md` says why each rule is there. Every rule is a pure function from the files of the
//! tree (see [`tree::Tree`]) to a list of faults, so each is tried on a planted fault as well as on
//! the repository. To change a rule, change its module and the page.

mod docs;
mod edges;
mod generated;
mod manifests;
mod runbooks;
mod sources;
mod tree;

use tree::Tree;

/// Fails with every fault, one on each line.
fn assert_clean(faults: &[String]) {
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

#[test]
fn crates_depend_only_inward() {
    assert_clean(&edges::faults(&edges::workspace()));
}

#[test]
fn the_server_is_built_without_kube() {
    assert_clean(&edges::kube_in_server(&edges::server_tree()));
}

#[test]
fn crates_inherit_lints_and_versions() {
    assert_clean(&manifests::faults(&Tree::of_repository()));
}

#[test]
fn files_stay_below_the_ceiling() {
    assert_clean(&sources::too_long(&Tree::of_repository()));
}

#[test]
fn modules_say_what_they_are_for() {
    assert_clean(&sources::without_module_doc(&Tree::of_repository()));
}

#[test]
fn work_left_open_carries_an_issue_number() {
    assert_clean(&sources::open_work(&Tree::of_repository()));
}

#[test]
fn no_file_names_a_registry_or_a_workplace() {
    assert_clean(&sources::private_names(&Tree::of_repository()));
}

#[test]
fn links_in_documents_resolve() {
    assert_clean(&docs::broken_links(&Tree::of_repository()));
}

#[test]
fn paths_in_the_architecture_exist() {
    assert_clean(&docs::missing_paths(&Tree::of_repository()));
}

#[test]
fn decisions_have_a_status() {
    assert_clean(&docs::decisions(&Tree::of_repository()));
}

#[test]
fn formats_have_a_golden_file_per_version() {
    assert_clean(&docs::formats(&Tree::of_repository()));
}

#[test]
fn generated_files_ask_not_to_be_edited() {
    assert_clean(&generated::without_header(&Tree::of_repository()));
}

#[test]
fn fields_of_custom_resources_are_described() {
    assert_clean(&generated::undescribed_fields(&Tree::of_repository()));
}

#[test]
fn every_reason_has_a_runbook() {
    assert_clean(&runbooks::faults(&Tree::of_repository()));
}
