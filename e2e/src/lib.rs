//! Real clients and repository rules against the built programs.
//!
//! Nothing depends on this crate. `tidy/` holds the rules of the repository as tests; `clients/`
//! the scripts of real AWS clients; `demo/` what `make demo` shows; `examples/` the manifests that
//! the documents use. Start with `clients/run.py`.

pub mod crash;
pub mod history;
