//! Blocks one after the other with nothing between: how they pass where they cannot be copied straight to their places.

#![expect(unsafe_code, reason = "bytes are copied by pointer, inside bounds that are checked here")]

use std::ptr::NonNull;

use llmd_core::{Error, ErrorKind, Result};

use super::blocks::{Origin, inside};
use super::{Expected, Readable, Stores, copy};
use crate::layout::KvLayout;
use crate::plan::Plan;

/// How blocks of a layout are packed, and how they get from there into another.
#[derive(Debug)]
pub(crate) struct Packed {
    /// How many there is room for.
    blocks: u32,
    block_bytes: u64,
    /// From their layout.
    pub(crate) gather: Plan,
    /// Into the other.
    pub(crate) scatter: Plan,
    /// The order in which one is summed.
    pub(crate) own: Plan,
}

impl Packed {
    /// As many blocks of `from` as have room in so many bytes, but at least those that fill whole blocks of `to`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] when those are more bytes than `most`, and what [`Plan::new`] says.
    pub(crate) fn new(from: &KvLayout, to: &KvLayout, bytes: u64, most: u64) -> Result<Self> {
        let block_bytes = from.block_bytes();
        let period = Plan::new(from, to)?.period().0 as u64;
        let needed = block_bytes.saturating_mul(period);
        if needed > most {
            let message = format!("{period} blocks of {block_bytes} bytes at once, expected at most {most} bytes");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let blocks = (bytes / block_bytes / period * period).max(period);
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        let packed = from.packed(blocks)?;
        let (gather, scatter) = (Plan::new(from, &packed)?, Plan::new(&packed, to)?);
        Ok(Self { blocks, block_bytes, gather, scatter, own: Plan::new(&packed, &packed)? })
    }

    /// How many bytes they have.
    pub(crate) const fn bytes(&self) -> u64 {
        self.block_bytes * self.blocks as u64
    }

    /// Whether all bytes of a block go into the other layout.
    pub(crate) fn is_whole(&self) -> bool {
        self.scatter.period_bytes() == self.block_bytes.saturating_mul(self.scatter.period().0 as u64)
    }

    /// How many periods of the plan into the other layout there is room for.
    pub(crate) const fn periods(&self) -> usize {
        self.blocks as usize / self.scatter.period().0
    }
}

/// Copies these blocks one after the other to `to`, by a plan from their layout to the packed one.
pub(crate) fn pack(gather: &Plan, from: &dyn Readable, blocks: &[u32], to: (NonNull<u8>, usize)) -> Result<()> {
    for piece in gather.copies(blocks, &places(blocks.len()))? {
        let (from, to) = (inside(from.span(), piece.from, piece.len)?, inside(to, piece.to, piece.len)?);
        // SAFETY: both places were checked to be inside their memories, which the caller has for as long.
        unsafe { copy(from.as_ptr(), to.as_ptr(), piece.len as usize, Stores::Cached) };
    }
    Ok(())
}

/// Copies these blocks one after the other to memory of ours, from wherever the processor reads.
pub(crate) fn fill(from: Origin<'_>, gather: &Plan, blocks: &[u32], to: (NonNull<u8>, usize)) -> Result<()> {
    match from {
        Origin::Memory(memory) => pack(gather, memory, blocks, to),
        Origin::Process(process, _) => super::pulled::gather(process, gather, blocks, to),
    }
}

/// Copies the first so many bytes of one memory of ours to another.
pub(crate) fn copy_span(from: (NonNull<u8>, usize), to: (NonNull<u8>, usize), len: u64) -> Result<()> {
    let (from, to) = (inside(from, 0, len)?, inside(to, 0, len)?);
    // SAFETY: both were checked to be as long, and the caller has them, which are two.
    unsafe { copy(from.as_ptr(), to.as_ptr(), len as usize, Stores::Cached) };
    Ok(())
}

/// The numbers of so many packed blocks.
pub(crate) fn places(count: usize) -> smallvec::SmallVec<[u32; 64]> {
    (0..count as u32).collect()
}

/// The sums of blocks that are known by their place now.
#[derive(Debug)]
pub(crate) struct Renamed<'a> {
    pub(crate) blocks: &'a [u32],
    pub(crate) expected: &'a dyn Expected,
}

impl Expected for Renamed<'_> {
    fn sum(&self, place: u32) -> Option<u64> {
        self.expected.sum(*self.blocks.get(place as usize)?)
    }
}

/// Memory that is somebody else's to keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span(pub(crate) NonNull<u8>, pub(crate) usize);

// SAFETY: it is an address; whoever reads there says why that is sound.
unsafe impl Send for Span {}
// SAFETY: as above.
unsafe impl Sync for Span {}

impl Readable for Span {
    fn span(&self) -> (NonNull<u8>, usize) {
        (self.0, self.1)
    }
}
