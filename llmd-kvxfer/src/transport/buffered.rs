//! Blocks that lie packed in a buffer of the host on their way into a device: which of them are right, and where they go.

use llmd_core::Result;

use crate::copy::{Expected, Packed, Span, places, sum_of};
use crate::device::{Buffer, DeviceCopy};
use crate::outcome::Outcome;

/// Periods of a transfer's plan, packed in a buffer from its beginning on.
pub(super) struct Buffered<'a> {
    pub(super) packed: &'a Packed,
    /// How many blocks a period of the transfer's plan reads, and how many it writes.
    pub(super) period: (usize, usize),
    /// The blocks that were read.
    pub(super) from: &'a [u32],
    /// Those that are to be written, and the place of the first among all of the transfer.
    pub(super) to: &'a [u32],
    pub(super) first: usize,
}

impl Buffered<'_> {
    /// Says which of the blocks that are to be written are not what was sealed, by what is in the buffer.
    pub(super) fn verify(
        &self,
        buffer: &Buffer,
        expected: &dyn Expected,
        failed: &mut impl Extend<(usize, Outcome)>,
    ) -> Result<()> {
        let (address, len) = buffer.span();
        let (read, written) = self.period;
        for (period, blocks) in self.from.chunks(read).enumerate() {
            for (place, &block) in (period * read..).zip(blocks) {
                let sum = sum_of(&self.packed.own, &Span(address, len), place as u32)?;
                if expected.sum(block) != Some(sum) {
                    let start = period * written;
                    let wrong = start..(start + written).min(self.to.len());
                    failed.extend(wrong.map(|place| (self.first + place, Outcome::Corrupt)));
                    break;
                }
            }
        }
        Ok(())
    }

    /// What goes from the buffer to the device, of the periods of which the first place is wanted.
    pub(super) fn copies(&self, is_wanted: impl Fn(usize) -> bool) -> Result<Vec<DeviceCopy>> {
        let all = places(self.from.len());
        let (read, written) = self.period;
        let mut copies = Vec::new();
        for (period, (from, to)) in all.chunks(read).zip(self.to.chunks(written)).enumerate() {
            if is_wanted(self.first + period * written) {
                let pieces = self.packed.scatter.copies(from, to)?;
                copies.extend(pieces.map(|copy| DeviceCopy { device: copy.to, host: copy.from, len: copy.len }));
            }
        }
        Ok(copies)
    }
}
