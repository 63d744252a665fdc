//! The first thirty seconds with llmd: see `examples/`.

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// So does that of "Embed it in Rust".
#[cfg(doctest)]
#[doc = include_str!("../../docs/embed-rust.md")]
struct EmbedRust;
