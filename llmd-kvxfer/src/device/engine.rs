//! What an agent's threads have a device copy by: its staging, and pinned buffers that are taken and given back.

#![expect(unsafe_code, reason = "bytes are copied while others are trusted to leave them alone")]

use std::collections::HashMap;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;

use super::{
    Costs, Device, DeviceCopy, DeviceMemory, Direction, HostMemory, HostSide, IpcHandle, Pinned, Slab, Staging,
    StagingLimits, Ticket, Transfer, TransferId,
};
use crate::plan::Copy;

/// How many bytes a buffer has unless a part is larger, and at most.
pub(crate) const BUFFER_BYTES: u64 = 2 << 20;
pub(crate) const MAX_BUFFER_BYTES: u64 = 64 << 20;
/// How many buffers there are: some are filled while others are emptied, by two transfers at once.
const BUFFERS: usize = 4;
/// Copies within a device that are shorter than this on average go by a kernel: a driver takes some 4 us for each, as an H200's did, in
/// which a kernel's blocks move as much.
const SMALL: u64 = 256 << 10;
/// For how many such copies there is room at least, and how many go at once at most.
const FEW: usize = 8 << 10;
const MAX_SMALL: usize = 1 << 18;
/// How long a device is measured.
const BUDGET: Duration = Duration::from_millis(200);
/// How long one that has to wait for the device lies down before it asks again.
const PAUSE: Duration = Duration::from_micros(50);

/// A device, and what copies go through. It owns no thread: whoever asks how a copy is going makes it go on.
pub(crate) struct CopyEngine {
    device: Arc<dyn Device>,
    staged: Mutex<Staged>,
    buffers: Mutex<Buffers>,
    tables: Mutex<Tables>,
}

struct Staged {
    staging: Staging,
    /// Transfers that ended and nobody has asked for yet: at most as many as there are buffers.
    ended: HashMap<TransferId, Result<()>>,
    polled: Vec<(TransferId, Result<()>)>,
}

#[derive(Default)]
struct Buffers {
    free: Vec<Pinned>,
    count: usize,
}

/// What small copies within the device are named in: as many as there are buffers.
#[derive(Default)]
struct Tables {
    free: Vec<Slab>,
    count: usize,
}

impl CopyEngine {
    /// Measures what copies of a device cost, for 200 ms at most by this clock.
    ///
    /// # Errors
    ///
    /// What the device says when memory is allocated, pinned and copied.
    pub(crate) fn new(device: Arc<dyn Device>, clock: &mut dyn FnMut() -> Duration) -> Result<Self> {
        let costs = Costs::measure(device.as_ref(), BUDGET, clock)?;
        let limits = StagingLimits { slot_bytes: BUFFER_BYTES, ..StagingLimits::default() };
        let staging = Staging::new(Arc::clone(&device), costs, limits)?;
        let staged = Mutex::new(Staged { staging, ended: HashMap::new(), polled: Vec::new() });
        Ok(Self { device, staged, buffers: Mutex::default(), tables: Mutex::default() })
    }

    pub(crate) const fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// A buffer of at least so many bytes; `None` while all are in use.
    pub(crate) fn buffer(self: &Arc<Self>, bytes: u64) -> Result<Option<Buffer>> {
        let mut buffers = self.buffers.lock();
        if let Some(place) = buffers.free.iter().position(|free| free.memory().len() as u64 >= bytes) {
            let pinned = buffers.free.swap_remove(place);
            return Ok(Some(Buffer { engine: Arc::clone(self), pinned }));
        }
        if bytes > MAX_BUFFER_BYTES {
            let message = format!("{bytes} bytes through a buffer, expected at most {MAX_BUFFER_BYTES}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if buffers.count >= BUFFERS && buffers.free.pop().map(|_| buffers.count -= 1).is_none() {
            return Ok(None);
        }
        buffers.count += 1;
        drop(buffers);
        let pinned = HostMemory::allocate(bytes.max(BUFFER_BYTES) as usize).and_then(|memory| self.device.pin(&memory));
        let pinned = pinned.inspect_err(|_| self.buffers.lock().count -= 1)?;
        Ok(Some(Buffer { engine: Arc::clone(self), pinned }))
    }

    /// Begins to bring bytes of the device into a buffer, or back.
    pub(crate) fn begin(
        &self,
        direction: Direction,
        memory: &DeviceMemory,
        buffer: Buffer,
        copies: impl IntoIterator<Item = DeviceCopy>,
    ) -> Result<Moving> {
        let transfer = Transfer::new(direction, memory, HostSide::Pinned(buffer.pinned.clone()), copies);
        // SAFETY: the buffer is the transfer's until it ended. In the device's memory the transfer's blocks are lent or fetched into,
        // and nobody else writes them then; who does all the same gets bytes that do not add up.
        let id = unsafe { self.staged.lock().staging.submit(transfer) }?;
        Ok(Moving { buffer: Some(buffer), id, is_over: false })
    }

    /// Memory that a peer exported, who is trusted with all of a pool.
    pub(crate) fn import(&self, handle: &IpcHandle) -> Result<DeviceMemory> {
        // SAFETY: the peer keeps the memory as long as it is connected, and who reads it as long as that.
        unsafe { self.device.import(handle) }
    }

    /// Begins to copy from one memory of the device to another of it; `None` while what many small copies go by is in use.
    pub(crate) fn within(
        self: &Arc<Self>,
        from: &DeviceMemory,
        to: &DeviceMemory,
        batch: &[Copy],
    ) -> Result<Option<Ticket>> {
        let bytes: u64 = batch.iter().map(|copy| copy.len).sum();
        let are_small = bytes / (batch.len() as u64).max(1) < SMALL && (2..=MAX_SMALL).contains(&batch.len());
        if !are_small || !self.device.abilities().pack {
            // SAFETY: the blocks are lent or fetched into, and nobody else writes them then, as above.
            return unsafe { self.device.copy_within(from, to, batch) }.map(Some);
        }
        match self.table(batch.len()) {
            Ok(Some(table)) => {
                // SAFETY: as above; and the table is this copy's alone until it is done.
                let ticket = unsafe { self.device.copy_within_packed(from, to, batch, &table.slab) }?;
                Ok(Some(ticket.holding(table)))
            }
            Ok(None) => Ok(None),
            // An engine may have left no memory: then it takes longer.
            Err(error) if error.kind() == ErrorKind::Exhausted => {
                // SAFETY: as above.
                unsafe { self.device.copy_within(from, to, batch) }.map(Some)
            }
            Err(error) => Err(error),
        }
    }

    /// What so many copies are named in; `None` while all are in use.
    fn table(self: &Arc<Self>, copies: usize) -> Result<Option<Table>> {
        let mut tables = self.tables.lock();
        if let Some(place) = tables.free.iter().position(|free| free.copies() >= copies) {
            let slab = tables.free.swap_remove(place);
            return Ok(Some(Table { engine: Arc::clone(self), slab }));
        }
        // One that is too small goes, when nobody waits for it.
        let too_small = if tables.count >= BUFFERS { tables.free.pop() } else { None };
        match &too_small {
            None if tables.count >= BUFFERS => return Ok(None),
            None => tables.count += 1,
            Some(_) => {}
        }
        drop(tables);
        drop(too_small);
        let slab = Slab::new(self.device.as_ref(), copies.max(FEW).next_power_of_two(), 1);
        let slab = slab.inspect_err(|_| self.tables.lock().count -= 1)?;
        Ok(Some(Table { engine: Arc::clone(self), slab }))
    }

    /// How a transfer ended, if it did.
    fn ended(&self, id: TransferId) -> Option<Result<()>> {
        let mut staged = self.staged.lock();
        let Staged { staging, ended, polled } = &mut *staged;
        staging.poll(polled);
        ended.extend(polled.drain(..));
        ended.remove(&id)
    }
}

impl fmt::Debug for CopyEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyEngine").field("device", &self.device.id()).finish_non_exhaustive()
    }
}

/// Memory of the host that the device reaches, this one's alone until it drops.
#[derive(Debug)]
pub(crate) struct Buffer {
    engine: Arc<CopyEngine>,
    pinned: Pinned,
}

impl Buffer {
    /// Where it begins, and how many bytes it has.
    pub(crate) fn span(&self) -> (NonNull<u8>, usize) {
        (self.pinned.memory().start(), self.pinned.memory().len())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.engine.buffers.lock().free.push(self.pinned.clone());
    }
}

/// What the copies of one batch within the device are named in, this one's alone until it drops.
struct Table {
    engine: Arc<CopyEngine>,
    slab: Slab,
}

impl Drop for Table {
    fn drop(&mut self) {
        self.engine.tables.lock().free.push(self.slab.clone());
    }
}

/// Bytes on their way between a device and a buffer. It waits when it drops before they are there.
#[derive(Debug)]
pub(crate) struct Moving {
    /// There until it is taken.
    buffer: Option<Buffer>,
    id: TransferId,
    is_over: bool,
}

impl Moving {
    /// The buffer again, once the bytes are where they were to go. It never blocks.
    ///
    /// # Errors
    ///
    /// Why they never will be.
    pub(crate) fn landed(&mut self) -> Result<Option<Buffer>> {
        let ended = self.buffer.as_ref().filter(|_| !self.is_over).and_then(|buffer| buffer.engine.ended(self.id));
        let Some(ended) = ended else { return Ok(None) };
        self.is_over = true;
        ended?;
        Ok(self.buffer.take())
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.as_ref().filter(|_| !self.is_over) else { return };
        while buffer.engine.ended(self.id).is_none() {
            std::thread::sleep(PAUSE);
        }
    }
}
