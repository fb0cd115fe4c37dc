//! `millstream bench`: what this machine gives, and how near the engine and the server come to it.
//!
//! The disk alone, the bare log, the engine and a server take turns, round by round, so that what
//! else the machine does falls on all of them. It knows nothing of how they work: `in_process`
//! loads a store, `http` loads an endpoint, `report` shows what came out. Start at `run`.

mod floors;
mod hop;
mod http;
mod in_process;
mod machine;
mod paced;
mod payload;
mod raw;
mod report;
mod rounds;
mod sample;
mod scenario;
mod tail;
mod usage;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use self::http::endpoint::Endpoint;
use self::report::Report;

/// The name of the subcommand.
pub const NAME: &str = "bench";

/// What to measure.
#[derive(Clone, Debug)]
struct Options {
    against: Against,
    server_pid: Option<u32>,
    seconds: Duration,
    rounds: usize,
    paced: Duration,
    dir: PathBuf,
    json: bool,
    out: Option<PathBuf>,
}

/// The target.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Against {
    /// Everything of ours, a server of its own included.
    All,
    /// The disk alone.
    Raw,
    /// The disk and the bare log.
    Wal,
    /// The disk, the bare log and the engine.
    Engine,
    /// The engine at a steady pace only.
    Paced,
    /// The engine behind a hop between processes, and the same one without.
    Hop,
    /// A server that is started for it.
    OwnServer,
    /// A server that runs already.
    Server(Endpoint),
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The system refused.
    #[error("the system refused: {0}")]
    Io(#[from] io::Error),
    /// The engine cannot be opened.
    #[error("opening the engine: {0}")]
    Open(#[from] millstream_storage::volume::OpenError),
    /// The engine refused an append.
    #[error("the engine refused: {0}")]
    Store(#[from] millstream_storage::StoreError),
    /// An append has failed.
    #[error("an append has failed: {0}")]
    Append(#[from] millstream_storage::AppendError),
    /// The engine refused a change.
    #[error("the engine refused a change: {0}")]
    Apply(#[from] millstream_storage::ApplyError),
    /// The engine refused a read.
    #[error("the engine refused a read: {0}")]
    Read(#[from] millstream_storage::ReadError),
    /// The server did not do as expected.
    #[error("the server at {endpoint}: {what}")]
    Server {
        /// Its address.
        endpoint: String,
        /// What it did.
        what: String,
    },
    /// Something that was waited for did not come.
    #[error("{0}")]
    Ended(String),
}

/// The flags.
#[must_use]
pub fn command() -> Command {
    let number = |name: &'static str, value: &'static str, default: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .default_value(default)
    };
    Command::new(NAME)
        .about("Measures the disk, the bare log, the engine and a server in turn")
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("print JSON instead of a table"),
        )
        .arg(
            Arg::new("against")
                .long("against")
                .value_name("TARGET")
                .value_parser(parse_against)
                .help("raw, wal, engine, paced (the engine at 40 MB/s), hop (the engine over a call between processes, and without), http (a server of its own) or http://HOST:PORT; all of ours when absent"),
        )
        .arg(
            Arg::new("server-pid")
                .long("server-pid")
                .value_name("N")
                .value_parser(value_parser!(u32))
                .help("process of the given server, to count what it uses"),
        )
        .arg(
            number("seconds", "S", "3")
                .value_parser(value_parser!(u64).range(1..=600))
                .help("length of each measurement"),
        )
        .arg(
            number("rounds", "N", "5")
                .value_parser(value_parser!(u64).range(1..=100))
                .help("how often each is measured; medians are shown"),
        )
        .arg(
            number("paced-minutes", "M", "0")
                .value_parser(value_parser!(u64).range(0..=600))
                .help("length of the paced run of 40 MB/s for the device bytes; 0 is ten seconds"),
        )
        .arg(
            number("dir", "DIR", ".")
                .value_parser(value_parser!(PathBuf))
                .help("where to measure; a directory is made in it and removed at the end"),
        )
        .arg(
            Arg::new("out")
                .long("out")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("write the JSON to this file too, and the table beside it as .txt"),
        )
}

fn parse_against(text: &str) -> Result<Against, String> {
    match text {
        "raw" => Ok(Against::Raw),
        "wal" => Ok(Against::Wal),
        "engine" => Ok(Against::Engine),
        "paced" => Ok(Against::Paced),
        "hop" => Ok(Against::Hop),
        "http" => Ok(Against::OwnServer),
        url => url.parse().map(Against::Server),
    }
}

/// Measures and reports; the exit code says whether it could.
#[must_use]
pub fn run(flags: &ArgMatches) -> ExitCode {
    let options = Options::of(flags);
    match measure(&options).and_then(|report| Ok(show(&options, &report)?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let written = writeln!(io::stderr(), "millstream bench: {error}");
            drop(written);
            ExitCode::FAILURE
        },
    }
}

impl Options {
    fn of(flags: &ArgMatches) -> Self {
        let number = |name: &str| flags.get_one::<u64>(name).copied().unwrap_or_default();
        let path = |name: &str| flags.get_one::<PathBuf>(name).cloned();
        let minutes = number("paced-minutes");
        let against = flags.get_one::<Against>("against").cloned();
        Self {
            against: against.unwrap_or(Against::All),
            server_pid: flags.get_one::<u32>("server-pid").copied(),
            seconds: Duration::from_secs(number("seconds")),
            rounds: usize::try_from(number("rounds")).unwrap_or(1),
            paced: Duration::from_secs(if minutes == 0 { 10 } else { minutes * 60 }),
            dir: path("dir").unwrap_or_default(),
            json: flags.get_flag("json"),
            out: path("out"),
        }
    }
}

fn measure(options: &Options) -> Result<Report, BenchError> {
    let scratch = Scratch::new(&options.dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::select! {
            report = rounds::run(options, &scratch.path) => report,
            _ = tokio::signal::ctrl_c() => Err(BenchError::Ended("interrupted".to_owned())),
        }
    })
}

fn show(options: &Options, report: &Report) -> io::Result<()> {
    let mut json = serde_json::to_string_pretty(report).map_err(io::Error::other)?;
    json.push('\n');
    let table = report.table();
    if let Some(out) = &options.out {
        std::fs::write(out, &json)?;
        std::fs::write(out.with_extension("txt"), &table)?;
    }
    let shown = if options.json { json } else { table };
    let mut stdout = io::stdout().lock();
    stdout.write_all(shown.as_bytes())?;
    stdout.flush()
}

/// A directory of this run, removed at its end.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new(parent: &Path) -> io::Result<Self> {
        let path = parent.join(format!("millstream-bench-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        let path = path.canonicalize()?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            let path = self.path.display();
            let written = writeln!(io::stderr(), "millstream bench: removing {path}: {error}");
            drop(written);
        }
    }
}
