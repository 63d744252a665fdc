//! The copies of a plan, one after the other.

use smallvec::SmallVec;

use super::{Piece, Plan, Side};

/// Bytes that follow each other on both sides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a copy is this")]
pub struct Copy {
    /// Where they begin in the memory that is read.
    pub from: u64,
    /// And in the memory that is written.
    pub to: u64,
    /// How many.
    pub len: u64,
}

/// The copies that [`Plan::copies`] gives.
#[derive(Clone, Debug)]
pub struct Copies<'a> {
    fragments: Fragments<'a>,
    /// What was found last, which the next may go on.
    pending: Option<Copy>,
}

impl<'a> Copies<'a> {
    pub(super) fn new(plan: &'a Plan, from: &'a [u32], to: &'a [u32]) -> Self {
        let fragments = Fragments { plan, from, to, period: 0, piece: 0, runs: None };
        Self { fragments, pending: None }
    }
}

/// Joins those that follow each other.
impl Iterator for Copies<'_> {
    type Item = Copy;

    fn next(&mut self) -> Option<Copy> {
        for next in self.fragments.by_ref() {
            match &mut self.pending {
                Some(last) if (last.from + last.len, last.to + last.len) == (next.from, next.to) => {
                    last.len += next.len;
                }
                pending => {
                    if let Some(last) = pending.replace(next) {
                        return Some(last);
                    }
                }
            }
        }
        self.pending.take()
    }
}

/// One run after the other, as the pieces have them.
#[derive(Clone, Debug)]
struct Fragments<'a> {
    plan: &'a Plan,
    from: &'a [u32],
    to: &'a [u32],
    period: usize,
    piece: usize,
    /// The runs of the piece that is under way.
    runs: Option<Runs<'a>>,
}

impl Iterator for Fragments<'_> {
    type Item = Copy;

    fn next(&mut self) -> Option<Copy> {
        loop {
            if let Some(next) = self.runs.as_mut().and_then(Runs::next) {
                return Some(next);
            }
            if self.piece == self.plan.pieces.len() {
                (self.piece, self.period) = (0, self.period + 1);
            }
            let piece = self.plan.pieces.get(self.piece)?;
            self.piece += 1;
            let place = |side: &Side, blocks: &[u32], block: usize, offset: u64| {
                let block = *blocks.get(self.period * side.period + block)?;
                Some(side.offset + u64::from(block) * side.block_stride + offset)
            };
            let from = place(&self.plan.from, self.from, piece.from_block, piece.from);
            let to = place(&self.plan.to, self.to, piece.to_block, piece.to);
            // Tokens come in order, so the first piece that a side has no block for is the last.
            self.runs = Some(Runs::new(piece, from?, to?));
        }
    }
}

/// The runs of one piece.
#[derive(Clone, Debug)]
struct Runs<'a> {
    piece: &'a Piece,
    next: Option<Copy>,
    /// How many were counted along each axis.
    at: SmallVec<[u64; 4]>,
}

impl<'a> Runs<'a> {
    fn new(piece: &'a Piece, from: u64, to: u64) -> Self {
        let at = piece.strides.iter().map(|_| 0).collect();
        Self { piece, next: Some(Copy { from, to, len: piece.run }), at }
    }
}

impl Iterator for Runs<'_> {
    type Item = Copy;

    fn next(&mut self) -> Option<Copy> {
        let now = self.next?;
        let Copy { mut from, mut to, len } = now;
        self.next = None;
        for (stride, at) in self.piece.strides.iter().zip(&mut self.at).rev() {
            if *at + 1 < stride.count {
                *at += 1;
                self.next = Some(Copy { from: from + stride.from, to: to + stride.to, len });
                break;
            }
            from -= *at * stride.from;
            to -= *at * stride.to;
            *at = 0;
        }
        Some(now)
    }
}
