//! The tests of the store as a whole: model against engine, and the simulation.

// `cfg(test)` always holds here; it tells the lints that helpers are test code too.
#[cfg(test)]
mod driver;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod model;
#[cfg(test)]
mod sim;
