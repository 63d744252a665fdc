//! One simulated engine.
fn main() {}
