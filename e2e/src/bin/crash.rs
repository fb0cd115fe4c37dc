//! `crash --cycles N --seed S`: the kill loop on the real server. The last line is its result as
//! JSON; the exit code is 0 only when nothing was lost, doubled, reordered or invented and the log
//! was rolled and checkpointed.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use millstream_e2e::crash::options::Options;
use millstream_e2e::crash::run::run;

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts on a healthy machine");
    let (line, good) = match runtime.block_on(run(&options)) {
        Ok(result) => (result.line(), result.is_good()),
        Err(error) => (format!("the kill loop broke off: {error}"), false),
    };
    let written = writeln!(std::io::stdout(), "{line}");
    if good && written.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
