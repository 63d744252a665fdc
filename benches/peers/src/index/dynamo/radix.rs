//! `RadixTree`: one thread, behind an actor in the product; asked and fed directly here.

use std::cell::RefCell;
use std::fmt;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use dynamo_kv_router::RadixTree;
use dynamo_kv_router::protocols::{LocalBlockHash, RouterEvent};

use super::super::{Index, Reader};
use crate::stream::{Batch, Stream};
use crate::system::worked;

#[derive(Clone)]
pub(crate) struct Radix(Rc<RefCell<RadixTree>>);

impl fmt::Debug for Radix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Radix(..)")
    }
}

impl Index for Radix {
    type Step = Vec<RouterEvent>;
    type Reader = Self;

    fn new(_: usize) -> Self {
        Self(Rc::new(RefCell::new(RadixTree::new())))
    }

    fn step(&self, stream: &Stream, batch: &Batch) -> Self::Step {
        super::step(stream, batch)
    }

    fn apply(&mut self, steps: Vec<Self::Step>) -> Duration {
        let mut tree = self.0.borrow_mut();
        let ((), took) = worked(|| {
            for event in steps.into_iter().flatten() {
                _ = black_box(tree.apply_event(event));
            }
        });
        took
    }

    fn reader(&self) -> Self {
        self.clone()
    }
}

impl Reader for Radix {
    const WAY: &'static str = "find_matches";
    type Query = Vec<LocalBlockHash>;

    fn query(&self, tokens: &[u32]) -> Self::Query {
        super::query(tokens)
    }

    fn ask(&mut self, query: &mut Self::Query) {
        black_box(self.0.borrow().find_matches(std::mem::take(query), false));
    }

    fn held(&mut self, query: &mut Self::Query) -> Vec<(u32, u32)> {
        super::held(&self.0.borrow().find_matches(query.clone(), false))
    }
}
