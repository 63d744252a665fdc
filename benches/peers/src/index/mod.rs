//! The indexes that are measured, behind one trait: each is spoken to in its own words.
//!
//! What an index takes is made before it is timed, in its own types; what it answers is its own, and is looked at by
//! nobody while the clock runs.

mod dynamo;
mod llmd;
mod smg;

use std::fmt::Debug;
use std::time::Duration;

use clap::ValueEnum;

pub(crate) use dynamo::{Crtc, Positional, Radix};
pub(crate) use llmd::Llmd;
pub(crate) use smg::{Found, Scored, Smg};

use crate::stream::{Batch, Stream};

/// An index, with its writing end.
pub(crate) trait Index {
    /// What an engine says in one step, as the index takes it.
    type Step: Send;
    type Reader: Reader;

    fn new(workers: usize) -> Self;

    fn step(&self, stream: &Stream, batch: &Batch) -> Self::Step;

    /// Takes steps in; says how long the thread that does so worked. Steps that the index takes by value are freed in
    /// that time, those that it borrows after it.
    fn apply(&mut self, steps: Vec<Self::Step>) -> Duration;

    fn reader(&self) -> Self::Reader;
}

/// A way of asking an index.
pub(crate) trait Reader {
    /// The name of the way among those of its index.
    const WAY: &'static str;
    /// What is asked, hashed as far as the index wants it hashed.
    type Query: Clone;

    fn query(&self, tokens: &[u32]) -> Self::Query;

    /// Asks, and lets the answer go. A query is asked once: some are taken by value.
    fn ask(&mut self, query: &mut Self::Query);

    /// Who holds how many leading blocks, by worker, without those that hold none.
    fn held(&mut self, query: &mut Self::Query) -> Vec<(u32, u32)>;
}

/// Which index.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub(crate) enum Who {
    DynamoCrtc,
    DynamoPositional,
    DynamoRadix,
    Llmd,
    Smg,
}

impl Who {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::DynamoCrtc => "dynamo_crtc",
            Self::DynamoPositional => "dynamo_positional",
            Self::DynamoRadix => "dynamo_radix",
            Self::Llmd => "llmd",
            Self::Smg => "smg",
        }
    }
}

/// Something that is done with an index, whichever it is.
pub(crate) trait With {
    type Answer;

    fn with<I: Index>(self) -> Self::Answer;
}

/// Does it with the index that is named.
pub(crate) fn with<W: With>(who: Who, what: W) -> W::Answer {
    match who {
        Who::DynamoCrtc => what.with::<Crtc>(),
        Who::DynamoPositional => what.with::<Positional>(),
        Who::DynamoRadix => what.with::<Radix>(),
        Who::Llmd => what.with::<Llmd>(),
        Who::Smg => what.with::<Smg>(),
    }
}

/// Steps that are made and applied at a time: their own memory stays small beside the index's.
pub(crate) const AT_ONCE: usize = 64;

/// Takes in batches of a stream; says how long that took.
pub(crate) fn feed<I: Index>(index: &mut I, stream: &Stream, batches: &[Batch]) -> Duration {
    let chunks = batches.chunks(AT_ONCE);
    chunks
        .map(|chunk| {
            let steps = chunk.iter().map(|batch| index.step(stream, batch)).collect();
            index.apply(steps)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::adversarial::{self, Mode, Truth};
    use crate::stream::{chain, tokens};

    /// How many of 300 queries an index answers as the truth has it.
    struct Right;

    impl With for Right {
        type Answer = usize;

        fn with<I: Index>(self) -> usize {
            let stream = adversarial::stream(Mode::Tail, 300, 4, 7);
            let (mut index, mut truth) = (I::new(4), Truth::new(4));
            let mut reader = index.reader();
            let mut right = 0;
            for (query, batch) in stream.queries.iter().zip(&stream.batches) {
                let ids = stream.ids(query);
                let asked: Vec<_> = ids.iter().flat_map(|&id| tokens(id)).collect();
                right += usize::from(reader.held(&mut reader.query(&asked)) == truth.leading(&chain(ids)));
                feed(&mut index, &stream, std::slice::from_ref(batch));
                stream.events(batch).for_each(|event| truth.apply(batch.worker, event));
            }
            right
        }
    }

    #[test]
    fn every_index_answers_in_the_same_words() {
        for who in Who::value_variants() {
            assert_eq!(with(*who, Right), 300, "{who:?}");
        }
    }
}
