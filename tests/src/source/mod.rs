//! Rust sources, read closely enough to know which module names which.
//!
//! No parser: words, what they name, and which of them are only there for tests. Comments and strings say nothing.

mod krate;
mod names;
mod words;

#[cfg(test)]
mod tests;

pub use krate::{Krate, Module};
pub use names::{Name, named};
pub use words::{Word, without_tests, words};
