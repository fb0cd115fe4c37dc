//! The controllers, one folder per kind.

pub mod data_stream;
