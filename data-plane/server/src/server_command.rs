//! `millstream server`: flags, readiness lines, signals, exit code.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use millstream_chassis::config::{AuthMode, SETTINGS};
use millstream_chassis::{Config, telemetry};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{Failure, Running, roles, start};

/// The name of the subcommand.
pub const NAME: &str = "server";
/// The key that clients may use in loopback mode, where any does.
const LOOPBACK_KEY: &str = "loopback";

/// The flags, from the table of settings.
#[must_use]
pub fn command() -> Command {
    let flags = SETTINGS.iter().map(|setting| {
        let default = setting
            .default
            .map_or_else(String::new, |d| format!(" [{d}]"));
        let variable = setting.variable();
        let flag = Arg::new(setting.name)
            .value_name(setting.value)
            .help(format!("{}{default} ({variable})", setting.help))
            .allow_hyphen_values(true);
        match setting.name {
            "f" => flag.short('f'),
            name => flag.long(name),
        }
    });
    Command::new(NAME)
        .about("Serves the Kinesis API from a data directory")
        .after_help("A flag counts before its variable, the variable before the file of --config.")
        .args(flags)
}

/// Runs a server until it is told to end; the exit code says how it ended.
#[must_use]
pub fn run(flags: &ArgMatches) -> ExitCode {
    match serve(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let code = failure.exit_code();
            // The log may not be there yet, and this line is for a person.
            let written = writeln!(io::stderr(), "millstream server: {failure}");
            drop(written);
            ExitCode::from(code)
        },
    }
}

fn serve(flags: &ArgMatches) -> Result<(), Failure> {
    let mut given = BTreeMap::new();
    for setting in &SETTINGS {
        if let Some(value) = flags.get_one::<String>(setting.name) {
            given.insert(setting.name, value.clone());
        }
    }
    let config = Config::load(given, &|name| std::env::var_os(name))?;
    telemetry::init(&|name| std::env::var(name).ok())?;
    let system = |what| move |source| Failure::System { what, source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(system("starting the runtime"))?;
    runtime.block_on(async {
        // Before anything else: a signal during the start is not lost.
        let signals = Signals::new().map_err(system("listening to signals"))?;
        survive_file_size_limit().map_err(system("listening to signals"))?;
        if config.credentials.is_some() && config.auth == AuthMode::Loopback {
            tracing::warn!("--credentials is not read: '--auth loopback' takes any signature");
        }
        if config.role.is_member() {
            return roles::run(config, signals.told_to_end()).await;
        }
        let running = start(config).await?;
        if let Err(error) = print_exports(&running) {
            // whoever started the server has read what it wanted, or does not read at all
            tracing::warn!(%error, "the readiness lines could not be written to stdout");
        }
        until_told(running, signals).await
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// A write past a limit of the file size is then an I/O error that the store reports, instead of a
/// signal that ends the process without a word.
fn survive_file_size_limit() -> io::Result<()> {
    let limit = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    // the handler stays when the listener is gone
    signal(limit).map(drop)
}

impl Signals {
    /// Waits until the process is told to end. There is nothing to read again.
    async fn told_to_end(mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {},
            }
        }
    }
}

async fn until_told(running: Running, mut signals: Signals) -> Result<(), Failure> {
    loop {
        tokio::select! {
            failure = running.failed() => return Err(failure),
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hangup.recv() => running.reload().await,
        }
    }
    running.shutdown().await;
    Ok(())
}

/// What a shell has to evaluate for its clients to find this server.
fn print_exports(running: &Running) -> io::Result<()> {
    let region = &running.config().region;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "export AWS_ENDPOINT_URL={}", endpoint(running))?;
    writeln!(stdout, "export AWS_REGION={region}")?;
    if running.config().auth == AuthMode::Loopback {
        writeln!(stdout, "export AWS_ACCESS_KEY_ID={LOOPBACK_KEY}")?;
        writeln!(stdout, "export AWS_SECRET_ACCESS_KEY={LOOPBACK_KEY}")?;
    }
    if let Some(ca) = &running.ca {
        let quoted = ca.display().to_string().replace('\'', r"'\''");
        writeln!(stdout, "export AWS_CA_BUNDLE='{quoted}'")?;
    }
    // boto3 and version 1 of the aws command read this one instead of AWS_REGION. It is the last
    // line: whoever reads them knows that the server is ready.
    writeln!(stdout, "export AWS_DEFAULT_REGION={region}")?;
    stdout.flush()
}

/// Where clients on this machine find the server: over TLS where they can trust it by the line
/// about the CA. The names in a certificate of the user's are not known here.
fn endpoint(running: &Running) -> String {
    match (running.tls_addr, &running.ca) {
        (Some(addr), Some(_)) => format!("https://{}", reachable(addr)),
        _ => format!("http://{}", reachable(running.addr)),
    }
}

/// Loopback for an address that stands for every one of the machine.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}
