//! Checks of the crate from outside: generated files and the table of malformed requests, signatures
//! by others.

mod answers;
mod coverage;
mod malformed;
mod signatures;
