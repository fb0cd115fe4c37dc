//! Writes the custom resource definitions, the chart's copy and the reference page: `crdgen ROOT`,
//! where ROOT is the root of the repository. Called by `make gen`.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(root) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return fail("name the root of the repository: crdgen ROOT");
    };
    for (path, content) in millstream_crds::k8s::files() {
        let path = root.join(path);
        if let Err(error) = std::fs::write(&path, content) {
            return fail(&format!("cannot write {}: {error}", path.display()));
        }
    }
    ExitCode::SUCCESS
}

#[expect(
    clippy::print_stderr,
    reason = "a generator talks to the person who runs it"
)]
fn fail(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::FAILURE
}
