//! Which endpoints serve which models: one pool per model, and one scheduler per model whose cache is its own.
//!
//! An adapter is a model with a pool of its own, those that list it, and its base's scheduler and index.

mod directory;
mod learn;
mod listing;
mod member;
mod served;
mod snapshot;
mod wanted;

pub(crate) use directory::{Directory, Surroundings};
pub(crate) use member::Member;
pub(crate) use snapshot::{Model, Snapshot};
