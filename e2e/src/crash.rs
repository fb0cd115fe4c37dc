//! The kill loop on the real server: write, SIGKILL, start again, read, and hold everything that
//! clients saw against what a durable, ordered log may show.
//!
//! A killed process keeps its page cache, so this loop says nothing about missing syncs (the
//! simulation in `millstream-storage` does); it finds what only the whole program has: recovery
//! under real timing, rolls, checkpoints, iterators over a restart. It must not know the engine:
//! it speaks the service's JSON over HTTP. Start with [`run::run`].

pub mod client;
pub mod machine;
pub mod options;
pub mod payload;
pub mod process;
pub mod reader;
pub mod result;
pub mod run;
pub mod writer;

/// Any error that ends the loop; what it is about is in its text.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
