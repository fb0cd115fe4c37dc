//! `DataStream`: dereference, validate, build, apply, status.
//!
//! Dereferencing is the making of a [`crate::plan::Snapshot`] from what is watched (one for all
//! objects, by [`crate::steer`]); [`validate`] turns an object into a stream or a refusal, by
//! what its siblings ask for ([`claims`]);
//! [`crate::plan`] and [`crate::pools::build`] say what is wanted; [`crate::pools::keeper`] and
//! [`crate::contract::station`] apply it; [`status`] says what came of it. [`controller`] writes
//! status and finalizer ([`ending`] says when an object that is being deleted may go), and is the
//! only module here that holds a client.

pub mod claims;
pub mod controller;
pub mod ending;
pub mod seen;
pub mod status;
pub mod validate;
