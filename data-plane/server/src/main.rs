//! The `millstream` program: picks the subcommand.

use std::process::ExitCode;

use clap::Command;
use millstream_chassis::allocator;
use millstream_server::{bench, server_command, storage_tool};

fn main() -> ExitCode {
    allocator::settle();
    let program = Command::new("millstream")
        .about("Kinesis data streams on your own disks")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(server_command::command())
        .subcommand(storage_tool::command())
        .subcommand(bench::command());
    match program.get_matches().subcommand() {
        Some((server_command::NAME, flags)) => server_command::run(flags),
        Some((bench::NAME, flags)) => bench::run(flags),
        Some((storage_tool::NAME, flags)) => storage_tool::run(flags),
        _ => ExitCode::from(2),
    }
}
