//! What is copied of one block to another, as few runs as there can be.

use std::ops::Range;

use smallvec::SmallVec;

use crate::layout::{Axis, KvLayout};

/// Bytes of one block that go into another: runs, so many of them along each of some axes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Piece {
    /// Which block of the period is read.
    pub(super) from_block: usize,
    /// And which is written.
    pub(super) to_block: usize,
    /// Where the first run begins in the block that is read.
    pub(super) from: u64,
    /// And in the one that is written.
    pub(super) to: u64,
    /// Bytes of each run.
    pub(super) run: u64,
    /// The axes, outermost first.
    pub(super) strides: SmallVec<[Stride; 4]>,
}

/// So many of something, so many bytes apart on each side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stride {
    pub(super) count: u64,
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Piece {
    /// Of the layers and heads of the model that both hold, these tokens of a period, which lie in one block on each side.
    pub(super) fn new(
        from: &KvLayout,
        to: &KvLayout,
        layers: &Range<u32>,
        heads: &Range<u32>,
        tokens: Range<u64>,
    ) -> Self {
        let first = |layout: &KvLayout| {
            let token = tokens.start % u64::from(layout.shape().tokens);
            u64::from(layers.start - layout.first_layer()) * layout.stride(Axis::Layer)
                + u64::from(heads.start - layout.first_head()) * layout.stride(Axis::Head)
                + token * layout.stride(Axis::Token)
        };
        let block = |layout: &KvLayout| (tokens.start / u64::from(layout.shape().tokens)) as usize;
        let counts = [
            (Axis::Layer, layers.len() as u64),
            (Axis::Head, heads.len() as u64),
            (Axis::Token, tokens.end - tokens.start),
            (Axis::Part, from.shape().parts.into()),
        ];
        let strides = counts.map(|(axis, count)| Stride { count, from: from.stride(axis), to: to.stride(axis) });
        let (run, strides) = joined(from.shape().content.into(), &strides);
        Self { from_block: block(from), to_block: block(to), from: first(from), to: first(to), run, strides }
    }
}

impl Piece {
    /// How many bytes it has.
    pub(super) fn bytes(&self) -> u64 {
        self.strides.iter().map(|stride| stride.count).product::<u64>() * self.run
    }

    /// Whether its runs are read in the order in which they lie.
    pub(super) fn is_ascending(&self) -> bool {
        self.strides.is_sorted_by(|outer, inner| outer.from > inner.from)
    }
}

/// Joins what follows each other on both sides to longer runs, and axes of which one goes on where the other ends to one.
fn joined(content: u64, strides: &[Stride]) -> (u64, SmallVec<[Stride; 4]>) {
    let mut run = content;
    let mut rest: SmallVec<[Stride; 4]> = strides.iter().copied().filter(|stride| stride.count > 1).collect();
    while let Some(next) = rest.iter().position(|stride| (stride.from, stride.to) == (run, run)) {
        run *= rest.remove(next).count;
    }
    // In the order of what is written, so that copies that follow each other there stand together.
    rest.sort_by_key(|stride| std::cmp::Reverse((stride.to, stride.from)));
    let mut joined = SmallVec::<[Stride; 4]>::new();
    for inner in rest {
        match joined.last_mut() {
            Some(outer) if (outer.from, outer.to) == (inner.from * inner.count, inner.to * inner.count) => {
                *outer = Stride { count: outer.count * inner.count, ..inner };
            }
            _ => joined.push(inner),
        }
    }
    (run, joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stride(count: u64, from: u64, to: u64) -> Stride {
        Stride { count, from, to }
    }

    #[test]
    fn what_follows_each_other_on_both_sides_is_one_run() {
        let strides = [stride(2, 4096, 8192), stride(4, 32, 32), stride(1, 7, 7), stride(8, 128, 128)];
        let (run, rest) = joined(32, &strides);
        assert_eq!((run, rest.as_slice()), (1024, &[stride(2, 4096, 8192)][..]));
    }

    #[test]
    fn axes_of_which_one_goes_on_where_the_other_ends_are_one() {
        let strides = [stride(3, 400, 4000), stride(4, 100, 1000), stride(2, 50, 10)];
        let (run, rest) = joined(10, &strides);
        assert_eq!((run, rest.as_slice()), (10, &[stride(12, 100, 1000), stride(2, 50, 10)][..]));
    }
}
