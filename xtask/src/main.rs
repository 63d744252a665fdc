//! Every command a person or CI runs.

fn main() {}
