//! The memory that is measured, and the copies that are.

#![expect(unsafe_code, reason = "bytes are copied while nobody else touches them")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use llmd_core::{Error, ErrorKind, Result};
use llmd_kvxfer::device::{
    Costs, Device, DeviceCopy, DeviceMemory, Direction, HostMemory, HostSide, IpcHandle, Pinned, Staging,
    StagingCounts, StagingLimits, Ticket, Transfer,
};

/// How long costs are measured.
pub(crate) const BUDGET: Duration = Duration::from_millis(200);

/// Says how late it is.
#[expect(clippy::disallowed_methods, reason = "a program that measures has a clock")]
pub(crate) fn now() -> impl FnMut() -> Duration {
    let begun = Instant::now();
    move || begun.elapsed()
}

/// A device with memory on both sides, which nobody else touches.
pub(crate) struct Rig {
    device: Arc<dyn Device>,
    memory: DeviceMemory,
    host: Pinned,
    /// To look at what is in the device.
    seen: Pinned,
    staging: Staging,
}

impl Rig {
    pub(crate) fn new(device: Arc<dyn Device>, costs: Costs, len: u64) -> Result<Self> {
        let memory = device.allocate(len)?;
        let pinned = || device.pin(&HostMemory::allocate(usize::try_from(len).unwrap_or(usize::MAX))?);
        let (host, seen) = (pinned()?, pinned()?);
        let limits = StagingLimits { slot_bytes: 32 << 20, ..StagingLimits::default() };
        let staging = Staging::new(Arc::clone(&device), costs, limits)?;
        Ok(Self { device, memory, host, seen, staging })
    }

    pub(crate) const fn len(&self) -> u64 {
        self.memory.len()
    }

    pub(crate) const fn counts(&self) -> StagingCounts {
        self.staging.counts()
    }

    pub(crate) fn has_ipc(&self) -> bool {
        self.device.abilities().ipc
    }

    pub(crate) fn export(&self) -> Result<IpcHandle> {
        self.device.export(&self.memory)
    }

    /// Puts into the device what [`read`] expects.
    pub(crate) fn fill_for_reading(&mut self) -> Result<()> {
        // SAFETY: nothing is under way.
        unsafe { self.host.memory().write(0, &pattern(7, self.len())) }?;
        let whole = [DeviceCopy { device: 0, host: 0, len: self.len() }];
        self.batch(Direction::ToDevice, &whole)
    }

    /// One call for all of them.
    pub(crate) fn batch(&mut self, direction: Direction, copies: &[DeviceCopy]) -> Result<()> {
        // SAFETY: both sides are this rig's, which waits.
        unsafe { self.device.copy(direction, &self.memory, &self.host, copies) }.and_then(Ticket::wait)
    }

    /// The way that llmd chooses.
    pub(crate) fn chosen(&mut self, direction: Direction, copies: &[DeviceCopy]) -> Result<()> {
        let host = HostSide::Pinned(self.host.clone());
        let transfer = Transfer::new(direction, &self.memory, host, copies.iter().copied());
        // SAFETY: both sides are this rig's, which waits.
        unsafe { self.staging.submit(transfer) }?;
        let mut done = Vec::new();
        while done.is_empty() {
            self.staging.poll(&mut done);
            std::hint::spin_loop();
        }
        done.into_iter().try_for_each(|(_, result)| result)
    }

    /// Puts a pattern where the copies read, something else where they write, makes them, and counts those that brought other
    /// bytes.
    pub(crate) fn wrong(&mut self, direction: Direction, copies: &[DeviceCopy]) -> Result<u64> {
        // As far as the copies reach.
        let end = |copy: &DeviceCopy| copy.device.max(copy.host) + copy.len;
        let len = copies.iter().map(end).max().unwrap_or_default().min(self.len());
        let whole = [DeviceCopy { device: 0, host: 0, len }];
        let (to_device, to_host) = (pattern(1, len), pattern(2, len));
        // SAFETY: nothing is under way.
        unsafe { self.host.memory().write(0, &to_device) }?;
        self.batch(Direction::ToDevice, &whole)?;
        // SAFETY: as above.
        unsafe { self.host.memory().write(0, &to_host) }?;
        self.chosen(direction, copies)?;
        // SAFETY: both sides are this rig's, which waits.
        unsafe { self.device.copy(Direction::ToHost, &self.memory, &self.seen, &whole) }?.wait()?;
        let (mut there, mut here) = (vec![0; to_device.len()], vec![0; to_device.len()]);
        // SAFETY: nothing is under way.
        unsafe {
            self.seen.memory().read(0, &mut there)?;
            self.host.memory().read(0, &mut here)?;
        }
        let is_wrong = |copy: &&DeviceCopy| {
            let device = copy.device as usize..(copy.device + copy.len) as usize;
            let host = copy.host as usize..(copy.host + copy.len) as usize;
            match direction {
                Direction::ToDevice => there[device] != to_host[host],
                Direction::ToHost => here[host] != to_device[device],
            }
        };
        Ok(copies.iter().filter(is_wrong).count() as u64)
    }
}

/// Bytes that tell where they are, and which of several they belong to.
fn pattern(which: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    for (at, word) in bytes.chunks_mut(8).enumerate() {
        let number = (at as u64 ^ which << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        word.copy_from_slice(&number[..word.len()]);
    }
    bytes
}

/// Memory of another process, all of which is read as fast as can be: bytes per second.
pub(crate) fn read(device: &Arc<dyn Device>, handle: &IpcHandle) -> Result<f64> {
    // SAFETY: the other process waits until this one ended.
    let memory = unsafe { device.import(handle) }?;
    let len = usize::try_from(memory.len()).unwrap_or(usize::MAX);
    let host = device.pin(&HostMemory::allocate(len)?)?;
    let whole = [DeviceCopy { device: 0, host: 0, len: memory.len() }];
    let mut best = f64::INFINITY;
    let mut clock = now();
    for _ in 0..3 {
        let begun = clock();
        // SAFETY: this process has the host's side for itself, and the other one leaves the device's alone.
        unsafe { device.copy(Direction::ToHost, &memory, &host, &whole) }?.wait()?;
        best = best.min((clock() - begun).as_secs_f64());
    }
    let mut bytes = vec![0; len];
    // SAFETY: nothing is under way.
    unsafe { host.memory().read(0, &mut bytes) }?;
    if bytes != pattern(7, memory.len()) {
        return Err(Error::new(ErrorKind::Corrupt, "what was imported is not what was exported"));
    }
    Ok(len as f64 / best)
}
