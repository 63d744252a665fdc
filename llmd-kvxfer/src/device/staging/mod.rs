//! Transfers between a device and the host, each part in the way that takes least.

#![expect(unsafe_code, reason = "bytes are copied while others are trusted to leave them alone")]

mod calibration;
mod costs;
mod lane;
mod transfer;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};

pub use self::costs::{Costs, PackCosts, PerDirection, Way};
use self::lane::{Flight, Lane};
pub use self::transfer::{HostSide, Transfer};
use super::Device;
use super::batch::DeviceCopy;

/// Parts that are under way at a time: while one crosses the bus, the processor packs or unpacks the other.
const LANES: usize = 2;

/// How much [`Staging`] holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "limits are given")]
pub struct StagingLimits {
    /// Bytes of each of two buffers that are pinned in the host, and of two in the device where it packs. Default: 8 MiB.
    pub slot_bytes: u64,
    /// Copies that go through a slab at once. Default: 16,384.
    pub slot_copies: usize,
    /// Transfers that wait or are under way. Default: 256.
    pub transfers: usize,
}

impl Default for StagingLimits {
    fn default() -> Self {
        Self { slot_bytes: 8 << 20, slot_copies: 16 << 10, transfers: 256 }
    }
}

/// Names a transfer that was submitted.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a name is a number")]
pub struct TransferId(pub u64);

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct StagingCounts {
    /// Parts of transfers that went as batches of copies.
    pub batches: u64,
    /// Those that were packed in the device's memory.
    pub packed: u64,
    /// Those that were rows.
    pub rows: u64,
    /// Bytes that the processor copied to or from a pinned buffer, since the host's side was not pinned.
    pub staged_bytes: u64,
}

/// Transfers between one device and the host: submitted, and done some time after.
///
/// A transfer goes in parts. Each is a batch of copies, rows at constant distances, or packed in the device's memory so that it
/// crosses the bus as one, whichever takes least by the device's [`Costs`]. What is not pinned in the host goes through one of two
/// buffers that are.
pub struct Staging {
    device: Arc<dyn Device>,
    costs: Costs,
    limits: StagingLimits,
    lanes: [Lane; LANES],
    jobs: VecDeque<Job>,
    last: u64,
    counts: StagingCounts,
}

/// A transfer, and how far it is.
struct Job {
    id: TransferId,
    transfer: Transfer,
    /// Which of its copies is next.
    next: usize,
    in_flight: usize,
    failed: Option<Error>,
}

impl Job {
    fn is_ready(&self) -> bool {
        self.failed.is_none() && self.next < self.transfer.copies.len()
    }

    fn is_over(&self) -> bool {
        self.in_flight == 0 && !self.is_ready()
    }
}

impl Staging {
    /// Staging for a device whose costs are known, as [`Costs::measure`] finds them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for limits of nothing; what the device says when buffers are allocated and pinned.
    pub fn new(device: Arc<dyn Device>, costs: Costs, limits: StagingLimits) -> Result<Self> {
        if limits.slot_bytes == 0 || limits.slot_copies == 0 || limits.transfers == 0 {
            return Err(Error::new(ErrorKind::Invalid, format!("{limits:?}, expected none to be zero")));
        }
        let lane = || Lane::new(device.as_ref(), limits);
        let lanes = [lane()?, lane()?];
        Ok(Self { device, costs, limits, lanes, jobs: VecDeque::new(), last: 0, counts: StagingCounts::default() })
    }

    /// What was measured, or given.
    pub const fn costs(&self) -> &Costs {
        &self.costs
    }

    /// What was done so far.
    pub const fn counts(&self) -> StagingCounts {
        self.counts
    }

    /// Transfers that are not done yet.
    pub fn waiting(&self) -> usize {
        self.jobs.len()
    }

    /// Submits a transfer, and begins it if nothing is before it.
    ///
    /// # Safety
    ///
    /// Until [`poll`](Self::poll) says that it is done, or `self` is dropped, nobody else writes the bytes that are read, and nobody
    /// else reads or writes those that are written, of which it names none twice.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it reaches outside, or memory of another device is given; [`ErrorKind::Exhausted`] when too many
    /// transfers wait.
    pub unsafe fn submit(&mut self, mut transfer: Transfer) -> Result<TransferId> {
        if self.jobs.len() >= self.limits.transfers {
            let message = format!("{} transfers wait, expected fewer: poll first", self.jobs.len());
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        transfer.check(self.device.id())?;
        transfer.arrange(self.limits.slot_bytes, self.lanes[0].packs());
        self.last += 1;
        let id = TransferId(self.last);
        self.jobs.push_back(Job { id, transfer, next: 0, in_flight: 0, failed: None });
        self.take_off();
        Ok(id)
    }

    /// Says which transfers ended since, each once, and goes on with the others. It never blocks, and copies at most two buffers
    /// by itself.
    pub fn poll(&mut self, done: &mut Vec<(TransferId, Result<()>)>) {
        self.land();
        self.take_off();
        let mut at = 0;
        while at < self.jobs.len() {
            if !self.jobs[at].is_over() {
                at += 1;
            } else if let Some(job) = self.jobs.remove(at) {
                done.push((job.id, job.failed.map_or(Ok(()), Err)));
            }
        }
    }

    /// Ends what came down.
    fn land(&mut self) {
        for lane in &mut self.lanes {
            let Some((id, landed)) = lane.land() else { continue };
            let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) else { continue };
            job.in_flight -= 1;
            if let Err(error) = landed {
                job.failed.get_or_insert(error);
            }
        }
    }

    /// Gives each lane that is free the next part of the first transfer that has one.
    fn take_off(&mut self) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.is_free()) {
            let Some(job) = self.jobs.iter_mut().find(|job| job.is_ready()) else { return };
            let (direction, host) = (job.transfer.direction, &job.transfer.host);
            let is_staged = matches!(host, HostSide::Pageable(_));
            let rest = &job.transfer.copies[job.next..];
            let flight = Flight {
                id: job.id,
                direction,
                memory: &job.transfer.memory,
                host,
                costs: self.costs.of(direction),
                copies: rest,
            };
            match lane.take_off(self.device.as_ref(), &flight) {
                Ok((way, copies)) => {
                    let bytes: u64 = rest[..copies].iter().map(|copy: &DeviceCopy| copy.len).sum();
                    self.counts.staged_bytes += if is_staged { bytes } else { 0 };
                    *match way {
                        Way::Batch => &mut self.counts.batches,
                        Way::Packed => &mut self.counts.packed,
                        Way::Rows => &mut self.counts.rows,
                    } += 1;
                    job.next += copies;
                    job.in_flight += 1;
                }
                // There may be room when tickets, others' too, are done.
                Err(error) if error.kind() == ErrorKind::Exhausted && self.device.counts().under_way > 0 => return,
                Err(error) => job.failed = Some(error),
            }
        }
    }
}

impl fmt::Debug for Staging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Staging");
        debug.field("device", &self.device).field("costs", &self.costs).field("counts", &self.counts);
        debug.field("waiting", &self.jobs.len()).finish_non_exhaustive()
    }
}
