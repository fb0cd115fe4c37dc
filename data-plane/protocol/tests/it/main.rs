//! Checks of the crate from outside: generated files and the table of malformed requests, signatures
//! by others.

mod answers;
mod coverage;
mod in_cbor;
mod malformed;
mod signatures;
