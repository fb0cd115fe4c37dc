//! The program's parts together, over HTTP.

mod front;
mod malformed;
mod overload;
mod process;
mod program;
mod roles;
