//! Settings of the kill loop.

use std::path::PathBuf;

use clap::Parser;

/// Kills the server again and again and checks that it keeps its word.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// How often the server is killed under load.
    #[arg(long, default_value_t = 20)]
    pub cycles: u32,
    /// Every choice of the loop follows from this number; the machine's timing does not.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The program under test; by default the debug build in the target directory.
    #[arg(long)]
    pub server_bin: Option<PathBuf>,
    /// Where the data directory is made; on a real disk, not in memory.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Writes the result, with commit, machine and seed, to this file.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Shards of the stream.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub shards: u32,
    /// Clients that write at the same time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub writers: u32,
}

impl Options {
    /// The program under test.
    #[must_use]
    pub fn server(&self) -> PathBuf {
        self.server_bin.clone().unwrap_or_else(|| {
            let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
            target
                .unwrap_or_else(|| PathBuf::from("target"))
                .join("debug/millstream")
        })
    }
}
