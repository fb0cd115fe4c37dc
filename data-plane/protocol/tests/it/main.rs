//! Checks of the crate from outside: generated files and the table of malformed requests.

mod answers;
mod coverage;
mod malformed;
