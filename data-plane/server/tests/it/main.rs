//! The program's parts together, over HTTP.

mod malformed;
