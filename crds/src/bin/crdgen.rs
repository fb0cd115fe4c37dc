//! Writes the custom resource definitions. Body follows.
fn main() {}
