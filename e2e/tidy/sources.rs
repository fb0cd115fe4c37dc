//! Source files: one job each, short, introduced, nothing left open, nothing private named.

use crate::tree::Tree;

/// Most lines of a file, tests not counted.
const LINES_MAX: usize = 800;

/// Files that are longer all the same, with the lines they may have. The list only shrinks.
const RATCHET: [(&str, usize); 0] = [];

/// Most lines of a program's main file: parse, wire, run.
const MAIN_LINES_MAX: usize = 60;

/// Endings of files that people write programs in.
const SOURCES: [&str; 5] = [".rs", ".py", ".mjs", ".js", ".sh"];

/// Files longer than the ceiling.
pub(crate) fn too_long(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in sources(tree) {
        let lines = code_lines(path, text);
        let ratchet = RATCHET
            .iter()
            .find(|(name, _)| *name == path)
            .map(|(_, lines)| *lines);
        let max = match ratchet {
            Some(lines) => lines,
            None if path.ends_with("src/main.rs") => MAIN_LINES_MAX,
            None => LINES_MAX,
        };
        if lines > max {
            faults.push(format!(
                "{path}: {lines} lines are more than {max}: split it by job"
            ));
        }
    }
    faults
}

/// Rust files that do not open with `//!`. A sibling `tests.rs` is introduced by its module.
pub(crate) fn without_module_doc(tree: &Tree) -> Vec<String> {
    tree.matching("", ".rs")
        .filter(|(path, text)| !text.starts_with("//!") && !path.ends_with("/tests.rs"))
        .map(|(path, _)| format!("{path}: open it with //! and what it is for"))
        .collect()
}

/// Marks of open work without the number of an issue.
pub(crate) fn open_work(tree: &Tree) -> Vec<String> {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    find_lines(tree, |line| {
        marks.iter().any(|mark| {
            line.match_indices(mark).any(|(at, _)| {
                let before = line.get(..at).and_then(|text| text.chars().next_back());
                let after = line.get(at + mark.len()..).unwrap_or_default();
                let is_word = !before.is_some_and(char::is_alphanumeric)
                    && !after.starts_with(|c: char| c.is_alphanumeric());
                is_word && !after.starts_with("(#")
            })
        })
    })
}

/// Names of package registries and of the machines that we work on: a build names neither.
pub(crate) fn private_names(tree: &Tree) -> Vec<String> {
    let banned = [
        concat!("registry.", "npmjs"),
        concat!("registry.", "yarnpkg"),
        concat!("files.python", "hosted"),
        concat!("pypi", ".org"),
        concat!("static.crates", ".io"),
        concat!("index.crates", ".io"),
        concat!("repo1.", "maven"),
        concat!("proxy.", "golang.org"),
        concat!("deb.", "debian.org"),
        concat!("/work/", "main"),
        concat!("/work/", "shared"),
        concat!("shared/", "design"),
        concat!("/opt/", "wheels"),
    ];
    find_lines(tree, |line| banned.iter().any(|name| line.contains(name)))
}

fn sources(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.texts()
        .filter(|(path, _)| SOURCES.iter().any(|ending| path.ends_with(ending)))
}

fn find_lines(tree: &Tree, matches: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in tree.texts() {
        for (index, line) in text.lines().enumerate().filter(|(_, line)| matches(line)) {
            faults.push(format!("{path}:{}: {}", index + 1, line.trim()));
        }
    }
    faults
}

/// Lines of a file without its test module and, for test files, without any.
fn code_lines(path: &str, text: &str) -> usize {
    let is_test = path.ends_with("tests.rs") || path.contains("/tests/") || path.contains("tidy/");
    if is_test {
        return 0;
    }
    let lines = text.lines();
    let mut count = 0;
    let mut previous = "";
    for line in lines {
        if previous.trim() == "#[cfg(test)]" && line.starts_with("mod tests {") {
            return count - 1;
        }
        count += 1;
        previous = line;
    }
    count
}

#[test]
fn a_long_file_is_caught_and_its_tests_are_not_counted() {
    let code = "//! Doc.\n".to_owned() + &"fn f() {}\n".repeat(LINES_MAX - 1);
    let tests = format!(
        "{code}#[cfg(test)]\nmod tests {{\n{}}}\n",
        "// t\n".repeat(500)
    );
    let long = format!("{code}fn g() {{}}\n");
    let main = "fn f() {}\n".repeat(MAIN_LINES_MAX + 1);
    let tree = Tree::of(&[
        ("a/src/fits.rs", &code),
        ("a/src/tested.rs", &tests),
        ("a/src/long.rs", &long),
        ("a/src/main.rs", &main),
        ("a/tests/it/main.rs", &long),
    ]);
    let found = too_long(&tree);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("a/src/long.rs"), "{found:?}");
    assert!(found[1].starts_with("a/src/main.rs"), "{found:?}");
}

#[test]
fn a_module_without_an_introduction_is_caught() {
    let tree = Tree::of(&[("a.rs", "//! Yes.\n"), ("b.rs", "use std::fmt;\n")]);
    assert_eq!(without_module_doc(&tree).len(), 1);
}

#[test]
fn open_work_without_a_number_is_caught() {
    let mark = concat!("TO", "DO");
    let text = format!("// {mark}: soon\n// {mark}(#7): later\nlet {mark}S = 1;\n");
    assert_eq!(open_work(&Tree::of(&[("a.rs", &text)])).len(), 1);
}

#[test]
fn a_registry_in_a_lock_file_is_caught() {
    let text = concat!("\"resolved\": \"https://registry.", "npmjs.org/x\"\n");
    assert_eq!(
        private_names(&Tree::of(&[("package-lock.json", text)])).len(),
        1
    );
}
