//! The demo on two real engines of vLLM: the same show, with a tiny model on this machine's processor.
//!
//! Engines take long to start, so they stay up from part to part; only one is killed, as a fault. Before each race their
//! caches are emptied. What an engine had cached of a prompt is what it reports in `usage`.

mod adapter;
mod blocks;
mod conversation;
mod drain;
mod engine;
mod fault;
mod fleet;
mod group;
mod load;
mod quiet;
mod race;
mod relay;
mod replay;
mod report;
mod show;
mod stage;

pub use adapter::{Adapter, VllmArgs};
#[cfg(test)]
pub(crate) use report::FIGURES;
pub(crate) use show::run;
