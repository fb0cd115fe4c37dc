//! Checks of the crate from outside: generated files and the table of malformed requests.

mod coverage;
mod malformed;
