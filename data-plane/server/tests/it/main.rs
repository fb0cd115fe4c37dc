//! The program's parts together, over HTTP.

mod malformed;
mod overload;
mod process;
mod program;
