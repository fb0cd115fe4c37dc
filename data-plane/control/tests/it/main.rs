//! Servers and operators over a network in memory: who gets in, who leads, what is held.

mod attaching;
mod bed;
mod certificates;
mod control_calls;
mod formats;
mod intruders;
