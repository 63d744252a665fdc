//! What a device's copies take, found by making some.

#![expect(unsafe_code, reason = "bytes are copied between buffers of our own")]

use std::time::Duration;

use llmd_core::Result;

use super::costs::{Costs, PackCosts, PerDirection};
use crate::device::batch::{DeviceCopy, Direction, Rows};
use crate::device::{Device, DeviceMemory, HostMemory, Pinned, Slab, Ticket};

/// The large copy, and what small ones have together at most.
const BYTES: u64 = 8 << 20;
/// Small copies of a batch.
const COPIES: u64 = 128;
/// Their lengths: around the 28 KiB at which an H100 loads several times as fast, and beyond.
const LENGTHS: [u64; 4] = [4 << 10, 16 << 10, 32 << 10, 256 << 10];

impl Costs {
    /// Measures a device, for about `budget` at most: 200 ms is plenty. `clock` says how late it is.
    ///
    /// The large copies are made in any case. What there was no time for is left out: then copies of a batch take as long as those
    /// that were measured, and nothing is packed or sent as rows.
    ///
    /// # Errors
    ///
    /// What the device says when memory is allocated, pinned and copied.
    pub fn measure(device: &dyn Device, budget: Duration, clock: &mut dyn FnMut() -> Duration) -> Result<Self> {
        let memory = device.allocate(2 * BYTES)?;
        let host = device.pin(&HostMemory::allocate(2 * BYTES as usize)?)?;
        let ends = clock() + budget;
        let mut bench = Bench { device, memory, host, clock };
        let [mut to_device, mut to_host] = [PerDirection::unmeasured(), PerDirection::unmeasured()];
        for (direction, costs) in [(Direction::ToDevice, &mut to_device), (Direction::ToHost, &mut to_host)] {
            costs.bytes_per_us = BYTES as f64 / bench.large_us(direction)?;
        }
        for (direction, costs) in [(Direction::ToDevice, &mut to_device), (Direction::ToHost, &mut to_host)] {
            bench.small(direction, costs, ends)?;
        }
        Ok(Self { to_device, to_host })
    }
}

impl PerDirection {
    const fn unmeasured() -> Self {
        Self { bytes_per_us: 1.0, copy_us: Vec::new(), row_us: None, pack: None }
    }
}

struct Bench<'a> {
    device: &'a dyn Device,
    memory: DeviceMemory,
    host: Pinned,
    clock: &'a mut dyn FnMut() -> Duration,
}

/// As many copies of a length as are made at once: the device's far from each other, the host's one behind the other or not.
fn copies(len: u64, host_stride: u64) -> Vec<DeviceCopy> {
    let count = COPIES.min(BYTES / len);
    (0..count).map(|at| DeviceCopy { device: at * 2 * len, host: at * host_stride, len }).collect()
}

impl Bench<'_> {
    /// What it takes until a ticket is done, the better of two tries: the first of all warms up.
    fn time(&mut self, mut submit: impl FnMut(&Self) -> Result<Ticket>) -> Result<f64> {
        let mut best = f64::INFINITY;
        for _ in 0..2 {
            let begun = (self.clock)();
            submit(self)?.wait()?;
            best = best.min(((self.clock)().saturating_sub(begun)).as_secs_f64() * 1e6);
        }
        // No clock is finer than this, and nothing is to be divided by nothing.
        Ok(best.max(0.01))
    }

    fn is_late(&mut self, ends: Duration) -> bool {
        (self.clock)() >= ends
    }

    fn batch_us(&mut self, direction: Direction, batch: &[DeviceCopy]) -> Result<f64> {
        // SAFETY: both sides are this bench's own, and each copy is waited for.
        self.time(|bench| unsafe { bench.device.copy(direction, &bench.memory, &bench.host, batch) })
    }

    fn large_us(&mut self, direction: Direction) -> Result<f64> {
        self.batch_us(direction, &[DeviceCopy { device: 0, host: 0, len: BYTES }])
    }

    /// What small copies take beside their bytes, as long as there is time.
    fn small(&mut self, direction: Direction, costs: &mut PerDirection, ends: Duration) -> Result<()> {
        for len in LENGTHS {
            if self.is_late(ends) {
                return Ok(());
            }
            let batch = copies(len, 2 * len);
            let (count, bytes) = (batch.len() as f64, (batch.len() as u64 * len) as f64);
            let us = self.batch_us(direction, &batch)?;
            costs.copy_us.push((len, ((us - bytes / costs.bytes_per_us) / count).max(0.0)));
        }
        if self.is_late(ends) {
            return Ok(());
        }
        let [len, _, longer, _] = LENGTHS;
        let first = DeviceCopy { device: 0, host: 0, len };
        let rows = Rows { first, count: COPIES, device_stride: 2 * len, host_stride: len };
        // SAFETY: both sides are this bench's own, and each copy is waited for.
        let us =
            self.time(|bench| unsafe { bench.device.copy_strided(direction, &bench.memory, &bench.host, &rows) })?;
        costs.row_us = Some(((us - (COPIES * len) as f64 / costs.bytes_per_us) / COPIES as f64).max(0.0));
        if self.device.abilities().pack && !self.is_late(ends) {
            costs.pack = Some(self.pack(direction, costs, [len, longer])?);
        }
        Ok(())
    }

    /// What packing takes beside the bus: two lengths give what is there whatever the length, and what grows with it.
    fn pack(&mut self, direction: Direction, costs: &PerDirection, lengths: [u64; 2]) -> Result<PackCosts> {
        let slab = Slab::new(self.device, COPIES as usize, BYTES)?;
        let mut beside = [(0.0, 0.0); 2];
        for (beside, len) in beside.iter_mut().zip(lengths) {
            let batch = copies(len, len);
            let bytes = batch.len() as u64 * len;
            // SAFETY: both sides and the slab are this bench's own, and each copy is waited for.
            let us = self.time(|bench| unsafe {
                bench.device.copy_packed(direction, &bench.memory, &bench.host, &batch, &slab)
            })?;
            *beside = (bytes as f64, (us - costs.batch_us(1, bytes)).max(0.0));
        }
        let [(few, short), (many, long)] = beside;
        let bytes_per_us = (many - few) / (long - short).max(0.01);
        Ok(PackCosts { launch_us: (short - few / bytes_per_us).max(0.0), bytes_per_us })
    }
}
