//! `millstream storage`: look at, check, repair and copy a data directory that no server has open.
//! Parses and prints; the work is done by [`millstream_storage::volume::tools`].

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches as _, Subcommand};
use millstream_clock::SystemEntropy;
use millstream_storage::volume::{OpenError, tools};

use crate::Failure;

/// The name of the subcommand.
pub const NAME: &str = "storage";

/// The subcommands and their flags.
#[must_use]
pub fn command() -> Command {
    let about = "Looks at, checks, repairs or copies a data directory that no server has open";
    StorageCommand::augment_subcommands(Command::new(NAME).about(about))
        .subcommand_required(true)
        .arg_required_else_help(true)
}

#[derive(Debug, Subcommand)]
enum StorageCommand {
    /// Read every byte that counts and check it; changes nothing
    Verify {
        #[command(flatten)]
        from: DataDir,
    },
    /// Print what the directory holds, a line of JSON for each epoch, segment, frame and batch;
    /// never the data of a record
    Dump {
        #[command(flatten)]
        from: DataDir,
    },
    /// End a damaged log at an LSN; what is given up is moved aside
    Repair {
        #[command(flatten)]
        from: DataDir,
        /// Everything at or above this LSN is given up; the LSN that the refused start named
        #[arg(long, value_name = "LSN")]
        accept_loss_after: u64,
    },
    /// Check the directory and copy it to DIR, which must be absent or empty
    Snapshot {
        #[command(flatten)]
        from: DataDir,
        /// Where to
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
struct DataDir {
    /// The data directory
    #[arg(long, env = "MILLSTREAM_DATA_DIR", default_value = "./millstream-data")]
    data_dir: PathBuf,
}

/// Does it; the exit code is 0, 2 (arguments), 3 (in use), 4 (corrupt) or 5 (I/O).
#[must_use]
pub fn run(flags: &ArgMatches) -> ExitCode {
    let command = match StorageCommand::from_arg_matches(flags) {
        Ok(command) => command,
        Err(error) => error.exit(),
    };
    match execute(command, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let written = writeln!(io::stderr(), "millstream storage: {}", advice(&error));
            drop(written);
            ExitCode::from(Failure::Open(error).exit_code())
        },
    }
}

fn advice(error: &OpenError) -> String {
    match error {
        OpenError::Corrupt { lsn, .. } if *lsn > 0 => format!(
            "{error}\ncopy the directory first; to give up everything from here on: \
             millstream storage repair --accept-loss-after {lsn}"
        ),
        _ => error.to_string(),
    }
}

fn execute(command: StorageCommand, out: &mut dyn Write) -> Result<(), OpenError> {
    let line = match command {
        StorageCommand::Verify { from } => {
            let found = tools::verify(&from.data_dir)?;
            format!(
                "healthy: epoch {}, {}; checkpoint: {} shards, {} rows, {} segments with {} \
                 records in {} bytes; log behind it: {} frames with {} records, to LSN {}",
                found.epoch,
                if found.clean {
                    "ended cleanly"
                } else {
                    "not ended cleanly"
                },
                found.shards,
                found.rows,
                found.segments,
                found.segment_records,
                found.segment_bytes,
                found.wal_frames,
                found.wal_records,
                found.end_lsn,
            )
        },
        StorageCommand::Dump { from } => return tools::dump(&from.data_dir, out),
        StorageCommand::Repair {
            from,
            accept_loss_after,
        } => {
            let repaired = tools::repair(&from.data_dir, accept_loss_after, &SystemEntropy)?;
            let kept = repaired.kept_in.map_or_else(
                || "no file was moved".to_owned(),
                |dir| format!("what was given up is kept in {}", dir.display()),
            );
            format!("the log ends at LSN {}; {kept}", repaired.end_lsn)
        },
        StorageCommand::Snapshot { from, dir } => {
            let copied = tools::snapshot(&from.data_dir, &dir)?;
            format!(
                "copied {} files, {} bytes, to {}",
                copied.files,
                copied.bytes,
                dir.display()
            )
        },
    };
    writeln!(out, "{line}").map_err(|source| OpenError::Io {
        what: "printing".to_owned(),
        source,
    })
}
