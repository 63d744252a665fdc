//! Blocks out of another process's memory.

#![expect(unsafe_code, reason = "the system writes what it reads to places that are checked here")]

use std::cell::RefCell;
use std::ops::Range;
use std::ptr::NonNull;

use llmd_core::Result;

use super::blocks::{Copying, Origin, Readable, inside};
use super::packed::{Packed, Renamed, Span, places};
use super::{Sum, add_memory};
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::region::{PIECES, Piece, Process};

/// How many bytes are read in one go: they are still in the second cache when they are summed.
const AT_ONCE: usize = 256 << 10;

impl Copying<'_> {
    /// Copies these periods out of another process.
    pub(super) fn pull(
        &self,
        process: &Process,
        packed: &Packed,
        periods: Range<usize>,
        failed: &mut dyn FnMut(usize, Outcome),
    ) -> Result<()> {
        if self.plan.keeps_order() {
            return self.pull_straight(process, periods, failed);
        }
        let mut next = periods.start;
        while next < periods.end {
            let some = next..periods.end.min(next + packed.periods());
            next = some.end;
            self.pull_packed(process, packed, some, failed)?;
        }
        Ok(())
    }

    /// Every block goes whole and in its order: straight to its place, where it is summed.
    fn pull_straight(
        &self,
        process: &Process,
        periods: Range<usize>,
        failed: &mut dyn FnMut(usize, Outcome),
    ) -> Result<()> {
        let mut batch = Batch::new(process);
        for place in periods {
            let (from, to) = self.parts(place..place + 1);
            let ([block], [_]) = (from, to) else { continue };
            let right = match self.check.map(|(_, expected)| expected.sum(*block)) {
                None => None,
                Some(Some(right)) => Some(right),
                Some(None) => {
                    failed(place, Outcome::Timeout);
                    continue;
                }
            };
            for piece in self.plan.copies(from, to)? {
                let to = inside(self.to.span(), piece.to, piece.len)?;
                batch.add(piece.from, to, piece.len as usize, failed)?;
            }
            if let Some(right) = right {
                batch.parts.push(Part::End { place, right });
            }
        }
        batch.read(failed)
    }

    /// Blocks go in parts or in another order: packed to memory of this thread, and by a plan from there.
    fn pull_packed(
        &self,
        process: &Process,
        packed: &Packed,
        periods: Range<usize>,
        failed: &mut dyn FnMut(usize, Outcome),
    ) -> Result<()> {
        let written = self.plan.period().1;
        let (from, to) = self.parts(periods.clone());
        with_scratch(packed.bytes() as usize, |scratch| {
            gather(process, &packed.gather, from, scratch)?;
            let renamed = self.check.map(|(_, expected)| Renamed { blocks: from, expected });
            let copying = Copying {
                plan: &packed.scatter,
                from: Origin::Memory(&Span(scratch.0, scratch.1)),
                from_blocks: &places(from.len()),
                to: self.to,
                to_blocks: to,
                check: renamed.as_ref().map(|renamed| (&packed.own, renamed as _)),
                stores: self.stores,
            };
            copying.run(0..copying.periods(), &mut |place, why| failed(periods.start * written + place, why))
        })
    }
}

/// Reads these blocks one after the other into memory of ours.
pub(super) fn gather(process: &Process, gather: &Plan, blocks: &[u32], to: (NonNull<u8>, usize)) -> Result<()> {
    let mut batch = Batch::new(process);
    for piece in gather.copies(blocks, &places(blocks.len()))? {
        batch.add(piece.from, inside(to, piece.to, piece.len)?, piece.len as usize, &mut |_, _| {})?;
    }
    batch.read(&mut |_, _| {})
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How much a thread keeps for the next time.
const KEPT: usize = 4 << 20;

fn with_scratch<R>(len: usize, then: impl FnOnce((NonNull<u8>, usize)) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < len {
            scratch.resize(len, 0);
        }
        let result = then((NonNull::from(scratch.as_mut_slice()).cast(), len));
        if scratch.len() > KEPT {
            *scratch = Vec::new();
        }
        result
    })
}

/// What is read in one call, and what is done with it then.
struct Batch<'a> {
    process: &'a Process,
    pieces: Vec<Piece>,
    bytes: usize,
    parts: Vec<Part>,
    /// Of the block that is under way.
    sum: Sum,
}

enum Part {
    /// The next of the pieces is summed.
    Piece(Piece),
    /// A block ends, and should add up to this.
    End { place: usize, right: u64 },
}

impl<'a> Batch<'a> {
    fn new(process: &'a Process) -> Self {
        Self { process, pieces: Vec::new(), bytes: 0, parts: Vec::new(), sum: Sum::default() }
    }

    /// `len` bytes from `to` on must be inside memory that can be written.
    fn add(
        &mut self,
        mut from: u64,
        mut to: NonNull<u8>,
        mut len: usize,
        failed: &mut dyn FnMut(usize, Outcome),
    ) -> Result<()> {
        while len > 0 {
            let now = len.min(AT_ONCE - self.bytes);
            let piece = Piece { from, to: to.as_ptr(), len: now };
            self.pieces.push(piece);
            self.parts.push(Part::Piece(piece));
            self.bytes += now;
            // SAFETY: `now` is not more than the `len` bytes that are there.
            to = unsafe { to.add(now) };
            (from, len) = (from + now as u64, len - now);
            if self.bytes == AT_ONCE || self.pieces.len() == PIECES {
                self.read(failed)?;
            }
        }
        Ok(())
    }

    fn read(&mut self, failed: &mut dyn FnMut(usize, Outcome)) -> Result<()> {
        if !self.pieces.is_empty() {
            // SAFETY: all that was added is writable, as `add` asks.
            unsafe { self.process.read(&self.pieces) }?;
        }
        for part in self.parts.drain(..) {
            match part {
                // SAFETY: it was just written.
                Part::Piece(piece) => unsafe { add_memory(piece.to, piece.len, &mut self.sum) },
                Part::End { place, right } => {
                    if std::mem::take(&mut self.sum).value() != right {
                        failed(place, Outcome::Corrupt);
                    }
                }
            }
        }
        self.pieces.clear();
        self.bytes = 0;
        Ok(())
    }
}
