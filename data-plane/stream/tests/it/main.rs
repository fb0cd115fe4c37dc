//! Streams over real stores, through the public interface only.
//!
//! A test that any store must pass is a generic function; `over_stores!` runs it over each.

mod append;
mod bed;
mod catalogue;
mod home;
mod iterator;
mod lifecycle;
mod list;
mod once;
mod read;
mod retention;
