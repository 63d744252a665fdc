//! What a worker works with besides its own tables.

use std::collections::HashMap;

use super::super::IndexSettings;
use super::super::span::{Column, Namer, Span};
use super::interned::Interned;
use super::namespaces::Namespaces;
use crate::hash::BlockHasher;
use crate::{BlockHash, WorkerId};

/// What a worker works with besides its own tables.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) span: &'a mut Span,
    pub(super) interned: &'a mut Interned,
    pub(super) namespaces: &'a mut Namespaces,
    pub(super) pool: &'a mut Pool,
    pub(super) given_up: &'a mut HashMap<Column, GivenUp>,
    pub(super) scratch: &'a mut Scratch,
    pub(super) hasher: &'a BlockHasher,
    pub(super) settings: &'a IndexSettings,
    /// The timestamp of the batch.
    pub(super) at: f64,
    /// The number of the last removal of any worker.
    pub(super) order: &'a mut u64,
}

/// What lies on the storage that all workers of the pool share.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pub(super) namer: Namer,
    pub(super) column: Option<Column>,
    /// Whether it is not kept any longer, since there were too many blocks in all.
    pub(super) is_given_up: bool,
    /// Whether something that lies there is not known, so that no worker's answers are exact: it is not kept, or what a name
    /// covers was forgotten.
    pub(super) is_missed: bool,
    /// Whether readers have to be told of it.
    pub(super) is_news: bool,
}

/// A column that a worker has given up, as long as it is not swept.
#[derive(Debug)]
pub(super) struct GivenUp {
    pub(super) worker: WorkerId,
    /// By which names the worker knew its blocks.
    pub(super) namer: Namer,
    /// When that was, among all removals.
    pub(super) order: u64,
    /// Whether these names still mean something.
    pub(super) names_last: bool,
    pub(super) span: u32,
}

/// Room for the blocks of one event.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) digests: Vec<BlockHash>,
    pub(super) names: Vec<u64>,
}

impl Context<'_> {
    /// Whether the names of a column that was given up still mean something.
    pub(super) fn names_after_clear(&self, column: Column) -> bool {
        self.given_up.get(&column).is_some_and(|given| given.names_last)
    }

    pub(super) fn next_order(&mut self) -> u64 {
        *self.order += 1;
        *self.order
    }
}
