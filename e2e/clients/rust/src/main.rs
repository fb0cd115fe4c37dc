//! aws-sdk-kinesis against a server: the ten operations, iterators, paging, and errors as the SDK's
//! own variants.
//!
//! The server comes from the environment. Retries are off. Prints one line per check, in the Test
//! Anything Protocol. Start with [`main`]; the checks stand in `checks`.

mod checks;
mod session;

use std::process::ExitCode;

use session::Session;

/// Longest time for all checks together.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(120);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let run = async {
        let mut session = Session::from_environment();
        checks::run(&mut session).await;
        session.finish()
    };
    match tokio::time::timeout(DEADLINE, run).await {
        Ok(code) => code,
        Err(_) => {
            println!("Bail out! not done after {DEADLINE:?}");
            ExitCode::FAILURE
        },
    }
}
