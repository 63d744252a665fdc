//! Micro-benchmarks, each with a physical limit or a peer beside it.
