//! Blocks from one memory to another by a plan, each checked against its sum.

#![expect(unsafe_code, reason = "bytes are copied by pointer, inside bounds that are checked here")]

use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;

use llmd_core::{Error, ErrorKind, Result};

use super::packed::Packed;
use super::{Stores, Sum, add_memory, copy, copy_summed, prefetch, settle};
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::region::{Mapping, Process, Region};

/// Memory that can be read for as long as this is there.
pub(crate) trait Readable: Send + Sync + fmt::Debug {
    /// Where it begins, and how many bytes it has: none of a region that is in a device.
    fn span(&self) -> (NonNull<u8>, usize);
}

impl Readable for Region {
    fn span(&self) -> (NonNull<u8>, usize) {
        self.address().map_or((NonNull::dangling(), 0), |address| (address, self.len()))
    }
}

impl Readable for Mapping {
    fn span(&self) -> (NonNull<u8>, usize) {
        (self.address(), self.len())
    }
}

/// Where blocks are read from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'a> {
    /// Memory that this process sees.
    Memory(&'a dyn Readable),
    /// Another process's, and how its blocks pass that do not go whole and in their order.
    Process(&'a Process, &'a Packed),
}

impl Origin<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Memory(memory) => memory.span().1,
            Self::Process(process, _) => process.len(),
        }
    }
}

/// What each block's bytes should add up to.
pub(crate) trait Expected: Send + Sync + fmt::Debug {
    /// Of this block; `None` while nobody has said yet.
    fn sum(&self, block: u32) -> Option<u64>;
}

/// Blocks to be copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copying<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) from: Origin<'a>,
    pub(crate) from_blocks: &'a [u32],
    pub(crate) to: &'a Region,
    pub(crate) to_blocks: &'a [u32],
    /// How a block lies where it is read from, in one order: what its sum is taken over. And the sums. `None` when nothing is
    /// checked.
    pub(crate) check: Option<(&'a Plan, &'a dyn Expected)>,
    pub(crate) stores: Stores,
}

impl Copying<'_> {
    /// Whether both memories are as long as the plan needs, and the second may be written.
    pub(crate) fn fits(&self) -> Result<()> {
        let (needed, there) = (self.plan.ends().0, self.from.len());
        if needed > there as u64 {
            return Err(too_short(there, "read", needed));
        }
        takes(self.plan, self.to)?;
        self.plan.copies(self.from_blocks, self.to_blocks).map(|_| ())
    }

    /// How many periods there are: parts that may be copied apart from each other.
    pub(crate) fn periods(&self) -> usize {
        let (read, written) = self.plan.period();
        self.from_blocks.len().div_ceil(read).max(self.to_blocks.len().div_ceil(written))
    }

    /// Copies these periods, and says of each block that was to be written and is not right its place in the list, and why.
    ///
    /// With [`Outcome::Timeout`]: nobody has said yet what it should add up to.
    pub(crate) fn run(&self, periods: Range<usize>, failed: &mut dyn FnMut(usize, Outcome)) -> Result<()> {
        self.fits()?;
        let memory = match self.from {
            Origin::Memory(memory) => memory,
            Origin::Process(process, packed) => return self.pull(process, packed, periods, failed),
        };
        let ran = match self.check {
            None => self.copy_all(memory, periods),
            Some((_, expected)) if self.plan.keeps_order() => self.copy_summed(memory, periods, expected, failed),
            Some((own, expected)) => self.verify_then_copy(memory, periods, own, expected, failed),
        };
        settle();
        ran
    }

    fn copy_all(&self, memory: &dyn Readable, periods: Range<usize>) -> Result<()> {
        let (from, to) = self.parts(periods);
        if let (Some(&first), Some(&last)) = (from.first(), to.first())
            && self.plan.run_of(first, last).is_some()
        {
            let mut runs = from.iter().zip(to).filter_map(|(&from, &to)| self.plan.run_of(from, to)).peekable();
            while let Some(run) = runs.next() {
                look_ahead(memory, runs.peek());
                self.copy(memory, run)?;
            }
            return Ok(());
        }
        self.plan.copies(from, to)?.try_for_each(|piece| self.copy(memory, piece))
    }

    /// Every block goes whole and in its order: its sum is taken as it passes.
    fn copy_summed(
        &self,
        memory: &dyn Readable,
        periods: Range<usize>,
        expected: &dyn Expected,
        failed: &mut dyn FnMut(usize, Outcome),
    ) -> Result<()> {
        for place in periods {
            let (from, to) = self.parts(place..place + 1);
            let (&[block], &[target]) = (from, to) else { continue };
            let Some(right) = expected.sum(block) else {
                failed(place, Outcome::Timeout);
                continue;
            };
            let mut sum = Sum::default();
            match self.plan.run_of(block, target) {
                Some(run) => {
                    let next = self.parts(place + 1..place + 2);
                    if let (&[from], &[to]) = next {
                        look_ahead(memory, self.plan.run_of(from, to).as_ref());
                    }
                    self.add(memory, run, &mut sum)?;
                }
                None => self.plan.copies(from, to)?.try_for_each(|piece| self.add(memory, piece, &mut sum))?,
            }
            if sum.value() != right {
                failed(place, Outcome::Corrupt);
            }
        }
        Ok(())
    }

    /// Blocks go in parts or in another order: each is summed first, and copied while it is in the cache.
    fn verify_then_copy(
        &self,
        memory: &dyn Readable,
        periods: Range<usize>,
        own: &Plan,
        expected: &dyn Expected,
        failed: &mut dyn FnMut(usize, Outcome),
    ) -> Result<()> {
        let written = self.plan.period().1;
        for period in periods {
            let (from, _) = self.parts(period..period + 1);
            let mut wrong = None;
            for &block in from {
                match expected.sum(block) {
                    None => wrong = wrong.or(Some(Outcome::Timeout)),
                    Some(right) if sum_of(own, memory, block)? != right => wrong = Some(Outcome::Corrupt),
                    Some(_) => {}
                }
            }
            match wrong {
                None => self.copy_all(memory, period..period + 1)?,
                Some(why) => {
                    let places = period * written..((period + 1) * written).min(self.to_blocks.len());
                    places.for_each(|place| failed(place, why));
                }
            }
        }
        Ok(())
    }

    /// The blocks of these periods.
    pub(super) fn parts(&self, periods: Range<usize>) -> (&[u32], &[u32]) {
        let part = |blocks: &'_ [u32], period: usize| {
            let end = (periods.end * period).min(blocks.len());
            (periods.start * period).min(end)..end
        };
        let (read, written) = self.plan.period();
        (&self.from_blocks[part(self.from_blocks, read)], &self.to_blocks[part(self.to_blocks, written)])
    }

    fn copy(&self, memory: &dyn Readable, piece: crate::plan::Copy) -> Result<()> {
        let (from, to) = self.places(memory, piece)?;
        // SAFETY: both places were checked to be inside their memories, which are there for as long as `self`.
        unsafe { copy(from, to, piece.len as usize, self.stores) };
        Ok(())
    }

    fn add(&self, memory: &dyn Readable, piece: crate::plan::Copy, sum: &mut Sum) -> Result<()> {
        let (from, to) = self.places(memory, piece)?;
        // SAFETY: both places were checked to be inside their memories, which are there for as long as `self`.
        unsafe { copy_summed(from, to, piece.len as usize, self.stores, sum) };
        Ok(())
    }

    /// Where a copy begins on both sides, if it ends inside them.
    fn places(&self, memory: &dyn Readable, piece: crate::plan::Copy) -> Result<(*const u8, *mut u8)> {
        let from = inside(memory.span(), piece.from, piece.len)?;
        let to = inside(self.to.span(), piece.to, piece.len)?;
        Ok((from.as_ptr(), to.as_ptr()))
    }
}

/// Whether a region is as long as a plan needs that writes it, and may be written.
pub(crate) fn takes(plan: &Plan, to: &Region) -> Result<()> {
    let (needed, there) = (plan.ends().1, to.len());
    if needed > there as u64 {
        return Err(too_short(there, "written", needed));
    }
    if !to.is_writable() {
        return Err(Error::new(ErrorKind::Invalid, "a region that is only for reading, expected one to fetch into"));
    }
    Ok(())
}

fn too_short(there: usize, what: &str, needed: u64) -> Error {
    let message = format!("a region of {there} bytes to be {what}, expected the {needed} that its layout has");
    Error::new(ErrorKind::Invalid, message)
}

/// Blocks lie anywhere, so that the processor cannot guess which is read next.
fn look_ahead(memory: &dyn Readable, next: Option<&crate::plan::Copy>) {
    if let Some(next) = next {
        prefetch(memory.span().0.as_ptr().wrapping_add(next.from as usize));
    }
}

/// What a block's bytes add up to, in the order of this plan from its layout to itself.
pub(crate) fn sum_of(own: &Plan, from: &dyn Readable, block: u32) -> Result<u64> {
    let mut sum = Sum::default();
    for piece in own.copies(&[block], &[block])? {
        let at = inside(from.span(), piece.from, piece.len)?;
        // SAFETY: the place was checked to be inside the memory, which is there for as long as `from`.
        unsafe { add_memory(at.as_ptr(), piece.len as usize, &mut sum) };
    }
    Ok(sum.value())
}

pub(super) fn inside((address, len): (NonNull<u8>, usize), offset: u64, count: u64) -> Result<NonNull<u8>> {
    if offset.checked_add(count).is_none_or(|end| end > len as u64) {
        let message = format!("{count} bytes at {offset} of a memory of {len} bytes");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    // SAFETY: it is inside, as was checked.
    Ok(unsafe { address.add(offset as usize) })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::layout::{KvLayout, KvShape};

    impl Expected for HashMap<u32, u64> {
        fn sum(&self, block: u32) -> Option<u64> {
            self.get(&block).copied()
        }
    }

    fn filled(len: u64) -> Region {
        Region::adopt_bytes((0..len).map(|place| (place % 251) as u8).collect())
    }

    fn sums(own: &Plan, region: &Region, blocks: u32) -> HashMap<u32, u64> {
        (0..blocks).map(|block| (block, sum_of(own, region, block).unwrap())).collect()
    }

    fn ran(copying: &Copying<'_>) -> Vec<(usize, Outcome)> {
        let mut failed = Vec::new();
        copying.run(0..copying.periods(), &mut |place, why| failed.push((place, why))).unwrap();
        failed
    }

    /// Orders kept and changed, blocks of one size and of two: what is right is copied, and what is not is said.
    #[test]
    fn a_block_that_does_not_add_up_is_said_and_the_others_are_copied() {
        let shape = KvShape { layers: 2, blocks: 12, heads: 2, tokens: 4, parts: 2, content: 64 };
        let from = KvLayout::named("LBNHC", shape).unwrap();
        let own = Plan::new(&from, &from).unwrap();
        assert!(own.keeps_order());
        let wide = KvShape { blocks: 6, tokens: 8, ..shape };
        for (name, shape, is_kept) in [("LBNHC", shape, true), ("LBHNC", shape, false), ("LBNHC", wide, false)] {
            let to = KvLayout::named(name, shape).unwrap();
            let plan = Plan::new(&from, &to).unwrap();
            assert_eq!(plan.keeps_order(), is_kept);
            let (source, target, plain) = (filled(from.end()), filled(to.end()), filled(to.end()));
            let right = sums(&own, &source, 12);
            let mut wrong = right.clone();
            *wrong.get_mut(&8).unwrap() ^= 1;
            wrong.remove(&2);
            let (read, written) = plan.period();
            let from_blocks: Vec<u32> = [7, 8, 2, 3].into();
            let to_blocks: Vec<u32> = (0..(4 * written / read) as u32).rev().collect();
            let copying = |to, check| Copying {
                plan: &plan,
                from: Origin::Memory(&source),
                from_blocks: &from_blocks,
                to,
                to_blocks: &to_blocks,
                check,
                stores: Stores::Around,
            };
            assert_eq!(ran(&copying(&plain, None)), []);
            assert_eq!(ran(&copying(&target, Some((&own, &right)))), []);
            let bytes = |region: &Region| {
                let mut bytes = vec![0; region.len()];
                region.read(0, &mut bytes).unwrap();
                bytes
            };
            assert!(bytes(&target) == bytes(&plain), "with sums and without is the same");

            let failed = ran(&copying(&target, Some((&own, &wrong))));
            if written == read {
                assert_eq!(failed, [(1, Outcome::Corrupt), (2, Outcome::Timeout)]);
            } else {
                assert_eq!(failed, [(0, Outcome::Corrupt), (1, Outcome::Timeout)]);
            }
        }
    }

    #[test]
    fn memory_that_is_too_short_is_refused() {
        let layout = KvLayout::opaque("amx", 4, 4096).unwrap();
        let plan = Plan::new(&layout, &layout).unwrap();
        let (long, short) = (filled(16_384), filled(16_383));
        let copying = |from, to| Copying {
            plan: &plan,
            from: Origin::Memory(from),
            from_blocks: &[0],
            to,
            to_blocks: &[1],
            check: None,
            stores: Stores::Cached,
        };
        assert!(copying(&long, &long).fits().is_ok());
        assert_eq!(
            copying(&short, &long).fits().unwrap_err().to_string(),
            "a region of 16383 bytes to be read, expected the 16384 that its layout has"
        );
        assert!(copying(&long, &short).run(0..1, &mut |_, _| {}).is_err());
    }
}
