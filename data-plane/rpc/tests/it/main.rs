//! Both halves over real connections with mutual TLS on loopback, through the public interface.

mod cluster;
mod doubt;
mod follow;
mod put;
mod together;
