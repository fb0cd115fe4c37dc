//! Makes the gRPC code of `proto/shards.proto`, without `protoc`. `bytes` become `Bytes`, which are
//! cut out of the received message without a copy.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    const PROTO: &str = "proto/shards.proto";
    let descriptors = protox::compile([PROTO], ["proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
