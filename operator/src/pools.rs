//! Pools of shard pods: what objects one is made of, how it is rolled, when it goes.
//!
//! A pool belongs to a namespace, never to a stream: it is made when the first stream of the
//! namespace names it, and outlives every one of them, since its volumes may hold retained
//! records. So its objects have no owner reference; [`retire`] says when they go. All but [`keeper`],
//! [`last_look`], [`metrics_token`] and the loop in [`seats`] is pure and knows no client and no
//! clock. Start with [`build::objects`].

pub mod applied;
pub mod build;
pub mod keeper;
pub mod last_look;
pub mod metrics_token;
pub mod retire;
pub mod roll;
pub mod seats;
pub mod size;
pub mod view;

#[cfg(test)]
mod tests;
