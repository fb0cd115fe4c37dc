//! The control contract, from the operator's side: who may attach, what is sent, where it is kept.
//!
//! [`service`] answers the calls; [`station`] holds the coordinator and carries out what it
//! decides; [`placements`] and [`keys`] keep what must outlive the process; [`review`] says who a
//! server is; [`api_streams`] turns what SDK clients want into objects, and [`creating`] says in
//! what order. Pure: [`access_keys`], [`keyring`], [`object_name`].

pub mod access_keys;
pub mod api_streams;
pub mod creating;
pub mod keyring;
pub mod keys;
pub mod object_name;
pub mod placements;
pub mod review;
pub mod service;
pub mod station;
