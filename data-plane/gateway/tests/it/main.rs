//! The gateway over sockets, with streams in memory behind it.

mod budgets;
mod client;
mod cloudwatch;
mod drain;
mod fixture;
mod hostile;
mod protocols;
mod signed;
mod slow;
mod tls;
mod wire;
