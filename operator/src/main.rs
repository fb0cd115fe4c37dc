//! The `millstream-operator` program: reads its flags, runs, says why it ended.

use std::io::{self, Write as _};
use std::process::ExitCode;

use millstream_operator::failure::Failure;
use millstream_operator::{cli, run, telemetry};

fn main() -> ExitCode {
    let flags = cli::command().get_matches();
    match start(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let code = failure.exit_code();
            // The log may not be there yet, and this line is for a person.
            let written = writeln!(io::stderr(), "millstream-operator: {failure}");
            drop(written);
            ExitCode::from(code)
        },
    }
}

fn start(flags: &clap::ArgMatches) -> Result<(), Failure> {
    let env = |name: &str| std::env::var(name).ok();
    let start = cli::Start::read(flags, &env)?;
    telemetry::init(&env)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| Failure::System {
        what: "starting the runtime",
        source,
    })?;
    runtime.block_on(run::run(start))
}
