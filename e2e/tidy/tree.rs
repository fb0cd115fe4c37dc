//! The files of the repository, read once into memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Path (relative to the root, with `/`) to content. Files that are not UTF-8 have no content.
pub(crate) struct Tree {
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// What git tracks, or would track: everything that is not ignored.
    pub(crate) fn of_repository() -> Self {
        let root = root();
        let output = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(&root)
            .output()
            .expect("git lists the files");
        assert!(output.status.success(), "git ls-files: {}", output.status);
        let names = String::from_utf8(output.stdout).expect("file names are UTF-8");
        let read = |name: &str| Some((name.to_owned(), std::fs::read(root.join(name)).ok()?));
        let files = names
            .split_terminator('\0')
            .filter_map(read)
            .map(|(name, bytes)| (name, String::from_utf8(bytes).ok()))
            .collect::<BTreeMap<_, _>>();
        assert!(
            files.len() > 50,
            "only {} files: is this the repository?",
            files.len()
        );
        Self { files }
    }

    /// A tree made of the given files.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), Some((*text).to_owned()));
        Self {
            files: files.iter().map(owned).collect(),
        }
    }

    /// Every text file: (path, content).
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter_map(|(name, text)| Some((name.as_str(), text.as_deref()?)))
    }

    /// The text files whose path starts with `prefix` and ends with `suffix`.
    pub(crate) fn matching<'a>(
        &'a self,
        prefix: &'a str,
        suffix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts()
            .filter(move |(name, _)| name.starts_with(prefix) && name.ends_with(suffix))
    }

    /// Whether `path` is a file or a folder of the tree.
    pub(crate) fn contains(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        path.is_empty()
            || self.files.contains_key(path)
            || self.files.keys().any(|name| name.starts_with(&folder))
    }

    /// The content of one file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("e2e/ is in the root")
        .to_owned()
}
