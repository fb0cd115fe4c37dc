//! Connections between processes, end to end: who gets in, what a certificate's life does and a
//! connection's, what a channel says about a call that failed.

mod bed;
mod channel;
mod lifetime;
mod mutual;
mod simulated;
mod strangers;
