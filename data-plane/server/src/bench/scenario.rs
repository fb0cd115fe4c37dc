//! What is measured: how many requests are in flight, how many records each carries, over how many
//! shards they spread.

/// Bytes of data in every record.
pub(crate) const RECORD_BYTES: usize = 1024;

/// One way of loading a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    /// What the report calls it.
    pub(crate) name: &'static str,
    /// Requests under way at any time.
    pub(crate) in_flight: usize,
    /// Records in each request.
    pub(crate) batch: usize,
    /// Shards that the records go to, in turn.
    pub(crate) shards: usize,
}

/// One request after the other.
pub(crate) const IN_FLIGHT_1: Scenario = scenario("1-in-flight", 1, 1, 64);
/// As many connections as a small fleet of producers holds.
pub(crate) const IN_FLIGHT_64: Scenario = scenario("64-in-flight", 64, 1, 64);
/// Many producers.
pub(crate) const IN_FLIGHT_512: Scenario = scenario("512-in-flight", 512, 1, 64);
/// The same into a single shard.
pub(crate) const ONE_SHARD_512: Scenario = scenario("512-in-flight-1-shard", 512, 1, 1);
/// Producers that batch.
pub(crate) const BATCHES: Scenario = scenario("16x100-records", 16, 100, 64);

/// What the log and the engine are loaded with.
pub(crate) const IN_PROCESS: [Scenario; 5] = [
    IN_FLIGHT_1,
    IN_FLIGHT_64,
    IN_FLIGHT_512,
    ONE_SHARD_512,
    BATCHES,
];
/// What a server is loaded with.
pub(crate) const OVER_HTTP: [Scenario; 4] = [IN_FLIGHT_1, IN_FLIGHT_64, IN_FLIGHT_512, BATCHES];

/// What goes into an engine over a hop, and into the same engine without one.
pub(crate) const OVER_HOP: [Scenario; 3] = [
    scenario("1-client", 1, 1, 64),
    scenario("16-clients", 16, 1, 64),
    scenario("128-clients", 128, 1, 64),
];

const fn scenario(name: &'static str, in_flight: usize, batch: usize, shards: usize) -> Scenario {
    Scenario {
        name,
        in_flight,
        batch,
        shards,
    }
}
