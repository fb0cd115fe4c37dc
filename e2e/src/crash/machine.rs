//! What a result has to say about where it was made.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The commit that is checked out, and whether the tree has no changes beside it. The file `out`,
/// which is about to be written, does not count.
#[must_use]
pub fn commit(out: Option<&Path>) -> Value {
    let own = out
        .and_then(|path| path.file_name())
        .map(|name| name.to_string_lossy().into_owned());
    let changes = git(&["status", "--porcelain"]).unwrap_or_default();
    let foreign = |line: &&str| own.as_ref().is_none_or(|own| !line.ends_with(own.as_str()));
    json!({
        "commit": git(&["rev-parse", "HEAD"]),
        "clean_tree": changes.lines().filter(foreign).count() == 0,
    })
}

/// Processor, cores, memory and kernel.
#[must_use]
pub fn machine() -> Value {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map(|(_, value)| value.trim().to_owned())
    };
    json!({
        "cpu": field(&file("/proc/cpuinfo"), "model name"),
        "cores": std::thread::available_parallelism().map(usize::from).ok(),
        "memory": field(&file("/proc/meminfo"), "MemTotal"),
        "kernel": file("/proc/sys/kernel/osrelease").trim(),
    })
}
