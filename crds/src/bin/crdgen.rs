//! Writes the custom resource definitions: `crdgen DIR`. Called by `make gen`.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return fail("name the folder to write to: crdgen DIR");
    };
    for definition in millstream_crds::k8s::definitions() {
        let path = dir.join(definition.file_name);
        if let Err(error) = std::fs::write(&path, definition.to_yaml()) {
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
