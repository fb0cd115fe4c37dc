//! The parts of the `millstream` program, as a library, so that they can be tested; `main.rs`
//! only calls them.

pub mod local_control;
