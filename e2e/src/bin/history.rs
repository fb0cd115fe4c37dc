//! `history < FILE`: the verdict over a history that a script wrote, as one line of JSON. The exit
//! code is 0 only when nothing was lost, doubled, reordered or invented and something was written.

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;

use millstream_e2e::history::Replay;

fn main() -> ExitCode {
    let mut replay = Replay::default();
    for line in std::io::stdin().lock().lines() {
        let taken = line
            .map_err(|error| error.to_string())
            .and_then(|line| replay.line(&line).map_err(|error| error.to_string()));
        if let Err(error) = taken {
            drop(writeln!(std::io::stderr(), "history: {error}"));
            return ExitCode::FAILURE;
        }
    }
    let verdict = replay.finish();
    let line =
        serde_json::to_string(&verdict).expect("a plain struct of numbers and texts is JSON");
    if writeln!(std::io::stdout(), "{line}").is_ok() && verdict.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
