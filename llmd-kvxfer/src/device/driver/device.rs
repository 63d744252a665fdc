//! One device of a driver as a [`Device`].

#![expect(unsafe_code, reason = "a driver is given addresses")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::{fmt, ptr};

use llmd_core::{Error, ErrorKind, Result};

use super::calls::{
    Batch, BatchAttributes, Handle, IPC_LAZY_PEER_ACCESS, IpcBytes, REGISTER_PORTABLE_MAPPED, STREAM_NON_BLOCKING,
};
use super::context::{Context, Driver};
use super::event::Event;
use super::kernel::Pack;
use super::owned::{Owned, What};
use super::rows::strided;
use crate::device::batch::{self, DeviceCopy, Direction, Rows};
use crate::device::{
    Abilities, Counts, Device, DeviceId, DeviceMemory, HostMemory, IpcHandle, Keep, Pinned, Slab, Ticket,
};
use crate::plan::Copy;

/// Streams for each way: copies of one wait for each other, those of several need not.
const STREAMS: usize = 2;
/// Copies in one call of a driver at most.
const MAX_BATCH: usize = 1 << 16;

/// A device of a driver, its streams and its kernels.
pub(super) struct DriverDevice {
    context: Arc<Context>,
    streams: [[Handle; STREAMS]; 2],
    next: AtomicUsize,
    /// Or why there is none.
    pack: Result<Pack, String>,
    counts: Tally,
}

// SAFETY: drivers let any thread use a stream, several at a time.
unsafe impl Send for DriverDevice {}
// SAFETY: as above.
unsafe impl Sync for DriverDevice {}

/// Each is a count by itself: nothing is read by means of them.
#[derive(Debug, Default)]
struct Tally {
    batched: AtomicU64,
    single: AtomicU64,
    strided: AtomicU64,
    packed: AtomicU64,
    bytes: AtomicU64,
}

impl DriverDevice {
    pub(super) fn open(driver: &Arc<Driver>, ordinal: u32) -> Result<Self> {
        let context = Arc::new(Context::new(driver, ordinal)?);
        let entered = context.enter()?;
        let mut device = Self {
            context: Arc::clone(&context),
            streams: [[ptr::null_mut(); STREAMS]; 2],
            next: AtomicUsize::new(0),
            pack: Err("its driver is given no kernels".to_owned()),
            counts: Tally::default(),
        };
        for stream in device.streams.as_flattened_mut() {
            // SAFETY: the driver writes a handle.
            let code = unsafe { (context.calls().stream_create)(stream, STREAM_NON_BLOCKING) };
            context.check(code, || "making a stream".to_owned())?;
        }
        if let Some(kernels) = driver.kernels() {
            device.pack = Pack::load(&context, kernels).map_err(|error| error.to_string());
        }
        drop(entered);
        Ok(device)
    }

    fn stream(&self, direction: Direction) -> Handle {
        self.streams[direction as usize][self.next.fetch_add(1, Ordering::Relaxed) % STREAMS]
    }

    fn ours(&self, devices: &[DeviceId]) -> Result<()> {
        let id = self.context.id();
        match devices.iter().find(|&&device| device != id) {
            None => Ok(()),
            Some(other) => Err(Error::new(ErrorKind::Invalid, format!("memory of {other}, expected that of {id}"))),
        }
    }

    /// Submits what `enqueue` asks of a stream. If that fails half-way, nothing is left under way.
    fn submit(
        &self,
        direction: Direction,
        keep: impl IntoIterator<Item = Box<dyn Send>>,
        enqueue: impl FnOnce(Handle) -> Result<()>,
    ) -> Result<Ticket> {
        let permit = self.context.permit()?;
        let _entered = self.context.enter()?;
        let stream = self.stream(direction);
        let event = Event::new(&self.context, permit)?;
        if let Err(error) = enqueue(stream).and_then(|()| event.record(stream)) {
            // SAFETY: the stream is alive. What it says is left: the error that is given came first.
            _ = unsafe { (self.context.calls().stream_synchronize)(stream) };
            return Err(error);
        }
        Ok(Ticket::new(event, keep))
    }

    /// Asks for copies, as few calls as the driver allows.
    ///
    /// # Safety
    ///
    /// They are within `memory` and `host`, which live until the stream went on.
    unsafe fn enqueue(
        &self,
        direction: Direction,
        memory: &DeviceMemory,
        host: &Pinned,
        batch: &[DeviceCopy],
        stream: Handle,
    ) -> Result<()> {
        let sides = |copy: &DeviceCopy| {
            (memory.address() + copy.device, host.memory().start().as_ptr().wrapping_add(copy.host as usize))
        };
        let calls = self.context.calls();
        match calls.batch {
            Some(call) if batch.len() > 1 => {
                for batch in batch.chunks(MAX_BATCH) {
                    let (mut there, mut here): (Vec<_>, Vec<_>) =
                        batch.iter().map(sides).map(|(there, here)| (there, here as u64)).unzip();
                    let mut lens: Vec<_> = batch.iter().map(|copy| copy.len as usize).collect();
                    let (to, from) = match direction {
                        Direction::ToDevice => (&mut there, &mut here),
                        Direction::ToHost => (&mut here, &mut there),
                    };
                    // SAFETY: the caller vouches for the copies.
                    unsafe { self.batched(call, to, from, &mut lens, stream) }?;
                }
                self.counts.batched.fetch_add(batch.len() as u64, Ordering::Relaxed);
            }
            _ => {
                for (at, copy) in batch.iter().enumerate() {
                    let (there, here) = sides(copy);
                    let len = copy.len as usize;
                    // SAFETY: the caller vouches for the copies.
                    let code = unsafe {
                        match direction {
                            Direction::ToDevice => (calls.to_device)(there, here.cast(), len, stream),
                            Direction::ToHost => (calls.to_host)(here.cast(), there, len, stream),
                        }
                    };
                    self.context.check(code, || format!("submitting copy {at} of {}", batch.len()))?;
                }
                self.counts.single.fetch_add(batch.len() as u64, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// # Safety
    ///
    /// As for [`enqueue`](Self::enqueue): of copies from these addresses to those, of these lengths.
    unsafe fn batched(
        &self,
        call: Batch,
        to: &mut [u64],
        from: &mut [u64],
        lens: &mut [usize],
        stream: Handle,
    ) -> Result<()> {
        let flags = self.context.calls().batch_flags;
        let (mut attributes, mut first, mut failed) = (BatchAttributes::in_order(flags), 0, usize::MAX);
        let (attributes, first) = (&raw mut attributes, &raw mut first);
        let (count, to, from, lens) = (lens.len(), to.as_mut_ptr(), from.as_mut_ptr(), lens.as_mut_ptr());
        // SAFETY: the three lists have `count` entries, the attributes are for all of them, and the driver reads all that before it
        // returns; for the copies the caller vouches.
        let code = unsafe {
            match call {
                Batch::Pointing(call) => call(to, from, lens, count, attributes, first, 1, &raw mut failed, stream),
                #[cfg(feature = "cuda")]
                Batch::Plain(call) => call(to, from, lens, count, attributes, first, 1, stream),
            }
        };
        self.context.check(code, || match failed {
            usize::MAX => format!("submitting {count} copies"),
            at => format!("submitting copy {at} of {count}"),
        })
    }
}

/// The copies without those of nothing, each joined with the one that it goes on from.
fn joined(batch: &[DeviceCopy]) -> Vec<DeviceCopy> {
    let mut joined: Vec<DeviceCopy> = Vec::with_capacity(batch.len());
    for copy in batch.iter().filter(|copy| copy.len > 0) {
        match joined.last_mut() {
            Some(last) if last.is_followed_by(copy) => last.len += copy.len,
            _ => joined.push(*copy),
        }
    }
    joined
}

impl Device for DriverDevice {
    fn id(&self) -> DeviceId {
        self.context.id()
    }

    fn abilities(&self) -> Abilities {
        Abilities { batch: self.context.calls().batch.is_some(), ipc: true, pack: self.pack.is_ok(), within: true }
    }

    fn counts(&self) -> Counts {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            batched_copies: count(&self.counts.batched),
            bytes: count(&self.counts.bytes),
            packed_copies: count(&self.counts.packed),
            single_copies: count(&self.counts.single),
            strided_copies: count(&self.counts.strided),
            under_way: self.context.under_way(),
        }
    }

    fn allocate(&self, len: u64) -> Result<DeviceMemory> {
        let size = usize::try_from(len).ok().filter(|&size| size > 0);
        let size =
            size.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("{len} bytes of {}, expected some", self.id())))?;
        let _entered = self.context.enter()?;
        let mut address = 0;
        // SAFETY: the driver writes an address.
        let code = unsafe { (self.context.calls().allocate)(&raw mut address, size) };
        self.context.check(code, || format!("allocating {len} bytes"))?;
        let keep = Arc::new(Owned { context: Arc::clone(&self.context), what: What::Allocation(address) });
        // SAFETY: it was just allocated, and is freed when the keep drops.
        unsafe { DeviceMemory::new(self.id(), address, len, keep) }
    }

    fn pin(&self, memory: &HostMemory) -> Result<Pinned> {
        let _entered = self.context.enter()?;
        let start = memory.start().as_ptr();
        // SAFETY: the memory lives as long as it is registered, since what is returned holds both.
        let code = unsafe { (self.context.calls().register)(start.cast(), memory.len(), REGISTER_PORTABLE_MAPPED) };
        self.context.check(code, || format!("pinning {} bytes of the host", memory.len()))?;
        let registration = Owned { context: Arc::clone(&self.context), what: What::Registration(start as u64) };
        Ok(Pinned::new(self.id(), memory.clone(), Arc::new(registration)))
    }

    unsafe fn copy(
        &self,
        direction: Direction,
        memory: &DeviceMemory,
        host: &Pinned,
        batch: &[DeviceCopy],
    ) -> Result<Ticket> {
        self.ours(&[memory.device(), host.device()])?;
        batch::check(batch, memory, host)?;
        let batch = joined(batch);
        if batch.is_empty() {
            return Ok(Ticket::done());
        }
        let keep: [Box<dyn Send>; 2] = [Box::new(memory.clone()), Box::new(host.clone())];
        // SAFETY: the copies were checked, and the ticket holds both until they are done.
        let ticket =
            self.submit(direction, keep, |stream| unsafe { self.enqueue(direction, memory, host, &batch, stream) })?;
        self.counts.bytes.fetch_add(batch::bytes(&batch), Ordering::Relaxed);
        Ok(ticket)
    }

    unsafe fn copy_strided(
        &self,
        direction: Direction,
        memory: &DeviceMemory,
        host: &Pinned,
        rows: &Rows,
    ) -> Result<Ticket> {
        self.ours(&[memory.device(), host.device()])?;
        rows.check(memory, host)?;
        if rows.first.len == 0 {
            return Ok(Ticket::done());
        }
        let there = memory.address() + rows.first.device;
        let here = host.memory().start().as_ptr().wrapping_add(rows.first.host as usize);
        let keep: [Box<dyn Send>; 2] = [Box::new(memory.clone()), Box::new(host.clone())];
        let ticket = self.submit(direction, keep, |stream| {
            // SAFETY: the rows were checked, and the ticket holds both sides until they are copied.
            let code = unsafe { strided(self.context.calls().strided, direction, rows, there, here, stream) };
            self.context.check(code, || format!("submitting {} rows of {} bytes", rows.count, rows.first.len))
        })?;
        self.counts.strided.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes.fetch_add(rows.count * rows.first.len, Ordering::Relaxed);
        Ok(ticket)
    }

    unsafe fn copy_packed(
        &self,
        direction: Direction,
        memory: &DeviceMemory,
        host: &Pinned,
        batch: &[DeviceCopy],
        slab: &Slab,
    ) -> Result<Ticket> {
        let pack = self.pack()?;
        self.ours(&[memory.device(), host.device(), slab.memory().device()])?;
        batch::check(batch, memory, host)?;
        let (count, bytes) = (batch.len(), batch::bytes(batch));
        has_room(slab, count, bytes)?;
        if bytes == 0 {
            return Ok(Ticket::done());
        }
        let (mut fragments, mut through, mut at) = (Vec::with_capacity(count), Vec::with_capacity(count), 0);
        for copy in batch {
            fragments.push([memory.address() + copy.device, at, copy.len]);
            through.push(DeviceCopy { device: slab.data() + at, ..*copy });
            at += copy.len;
        }
        // SAFETY: nothing else uses the slab, as the caller vouches for.
        let entries = unsafe { write_table(slab, fragments.into_iter()) }?;
        let through = joined(&through);
        let keep: [Box<dyn Send>; 3] = [Box::new(memory.clone()), Box::new(host.clone()), Box::new(slab.clone())];
        let (start, data) = (slab.memory().address(), slab.memory().address() + slab.data());
        let ticket = self.submit(direction, keep, |stream| {
            // SAFETY: all copies were checked, the table was written, and the ticket holds all that they use until they are done.
            unsafe {
                self.enqueue(Direction::ToDevice, slab.memory(), slab.table(), &entries, stream)?;
                if direction == Direction::ToDevice {
                    self.enqueue(direction, slab.memory(), host, &through, stream)?;
                }
                pack.launch(&self.context, direction, start, count as u64, data, stream)?;
                if direction == Direction::ToHost {
                    self.enqueue(direction, slab.memory(), host, &through, stream)?;
                }
            }
            Ok(())
        })?;
        self.counts.packed.fetch_add(count as u64, Ordering::Relaxed);
        self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(ticket)
    }

    unsafe fn copy_within(&self, from: &DeviceMemory, to: &DeviceMemory, batch: &[Copy]) -> Result<Ticket> {
        self.ours(&[from.device(), to.device()])?;
        batch::check_within(batch, from, to)?;
        let batch: Vec<_> = batch.iter().filter(|copy| copy.len > 0).collect();
        if batch.is_empty() {
            return Ok(Ticket::done());
        }
        let calls = self.context.calls();
        let keep: [Box<dyn Send>; 2] = [Box::new(from.clone()), Box::new(to.clone())];
        let ticket = self.submit(Direction::ToDevice, keep, |stream| {
            let sides =
                batch.iter().map(|copy| (to.address() + copy.to, from.address() + copy.from, copy.len as usize));
            if let Some(call) = calls.batch.filter(|_| batch.len() > 1) {
                let (mut tos, mut froms, mut lens) = (Vec::new(), Vec::new(), Vec::new());
                for (to, from, len) in sides {
                    tos.push(to);
                    froms.push(from);
                    lens.push(len);
                }
                let chunks = tos.chunks_mut(MAX_BATCH).zip(froms.chunks_mut(MAX_BATCH)).zip(lens.chunks_mut(MAX_BATCH));
                for ((to, from), lens) in chunks {
                    // SAFETY: the copies were checked, and the ticket holds both sides until they are done.
                    unsafe { self.batched(call, to, from, lens, stream) }?;
                }
                return Ok(());
            }
            for (at, (to, from, len)) in sides.enumerate() {
                // SAFETY: as above.
                let code = unsafe { (calls.within)(to, from, len, stream) };
                self.context.check(code, || format!("submitting copy {at} of {}", batch.len()))?;
            }
            Ok(())
        })?;
        self.counts.bytes.fetch_add(batch.iter().map(|copy| copy.len).sum(), Ordering::Relaxed);
        Ok(ticket)
    }

    unsafe fn copy_within_packed(
        &self,
        from: &DeviceMemory,
        to: &DeviceMemory,
        batch: &[Copy],
        slab: &Slab,
    ) -> Result<Ticket> {
        let pack = self.pack()?;
        self.ours(&[from.device(), to.device(), slab.memory().device()])?;
        batch::check_within(batch, from, to)?;
        has_room(slab, batch.len(), 0)?;
        if batch.iter().all(|copy| copy.len == 0) {
            return Ok(Ticket::done());
        }
        let fragments = batch.iter().map(|copy| [from.address() + copy.from, copy.to, copy.len]);
        // SAFETY: nothing else uses the slab, as the caller vouches for.
        let entries = unsafe { write_table(slab, fragments) }?;
        let keep: [Box<dyn Send>; 3] = [Box::new(from.clone()), Box::new(to.clone()), Box::new(slab.clone())];
        let (table, count) = (slab.memory().address(), batch.len() as u64);
        let ticket = self.submit(Direction::ToDevice, keep, |stream| {
            // SAFETY: all copies were checked, the table was written, and the ticket holds all that they use until they are done.
            unsafe {
                self.enqueue(Direction::ToDevice, slab.memory(), slab.table(), &entries, stream)?;
                // What is gathered goes to the other memory, as it would to a slab.
                pack.launch(&self.context, Direction::ToHost, table, count, to.address(), stream)
            }
        })?;
        self.counts.bytes.fetch_add(batch.iter().map(|copy| copy.len).sum(), Ordering::Relaxed);
        Ok(ticket)
    }

    fn export(&self, memory: &DeviceMemory) -> Result<IpcHandle> {
        self.ours(&[memory.device()])?;
        let _entered = self.context.enter()?;
        let (base, _) = self.allocation(memory.address())?;
        let mut driver = IpcBytes([0; 64]);
        // SAFETY: the driver writes a handle of this size.
        let code = unsafe { (self.context.calls().ipc_export)(&raw mut driver, memory.address()) };
        self.context.check(code, || format!("exporting {} bytes", memory.len()))?;
        Ok(IpcHandle { vendor: self.id().vendor, driver: driver.0, offset: memory.address() - base, len: memory.len() })
    }

    unsafe fn import(&self, handle: &IpcHandle) -> Result<DeviceMemory> {
        if handle.vendor != self.id().vendor {
            let message = format!("a handle of {}, expected one of {}", handle.vendor, self.id().vendor);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let _entered = self.context.enter()?;
        let mut base = 0;
        // SAFETY: the driver writes an address; a handle that is none is refused by it.
        let code =
            unsafe { (self.context.calls().ipc_open)(&raw mut base, IpcBytes(handle.driver), IPC_LAZY_PEER_ACCESS) };
        self.context.check(code, || format!("importing {} bytes", handle.len))?;
        let keep: Keep = Arc::new(Owned { context: Arc::clone(&self.context), what: What::Import(base) });
        let (_, len) = self.allocation(base)?;
        if handle.offset.checked_add(handle.len).is_none_or(|end| end > len) {
            let IpcHandle { offset, len: wanted, .. } = handle;
            let message =
                format!("{wanted} bytes at offset {offset} of an allocation of {len}, expected to end within");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        // SAFETY: it was just opened, and is closed when the keep drops; for the other process the caller vouches.
        unsafe { DeviceMemory::new(self.id(), base + handle.offset, handle.len, keep) }
    }
}

/// Refuses more copies, or bytes of them, than a slab has room for.
fn has_room(slab: &Slab, count: usize, bytes: u64) -> Result<()> {
    if count > slab.copies() || bytes > slab.bytes() {
        let room = format!("{} bytes in {} copies", slab.bytes(), slab.copies());
        let message = format!("{bytes} bytes in {count} copies into a slab for {room}");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(())
}

/// Writes which fragments there are, each by its address, its place and its length, and gives what brings that to the device.
///
/// # Safety
///
/// Nothing else uses the slab.
unsafe fn write_table(slab: &Slab, fragments: impl ExactSizeIterator<Item = [u64; 3]>) -> Result<[DeviceCopy; 1]> {
    let mut table = Vec::with_capacity(fragments.len() * 24);
    fragments.flatten().for_each(|number| table.extend_from_slice(&number.to_le_bytes()));
    // SAFETY: as the caller vouches for.
    unsafe { slab.table().memory().write(0, &table) }?;
    Ok([DeviceCopy { device: 0, host: 0, len: table.len() as u64 }])
}

impl DriverDevice {
    /// The kernels, if the driver could load them.
    fn pack(&self) -> Result<&Pack> {
        let nothing = |why: &String| Error::new(ErrorKind::Unsupported, format!("{} packs nothing: {why}", self.id()));
        self.pack.as_ref().map_err(nothing)
    }

    /// Where the allocation begins that holds an address, and how many bytes it has.
    fn allocation(&self, address: u64) -> Result<(u64, u64)> {
        let (mut base, mut len) = (0, 0);
        // SAFETY: the driver writes two numbers.
        let code = unsafe { (self.context.calls().allocation)(&raw mut base, &raw mut len, address) };
        self.context.check(code, || format!("finding the allocation of {address:#x}"))?;
        Ok((base, len as u64))
    }
}

impl Drop for DriverDevice {
    fn drop(&mut self) {
        let _entered = self.context.enter();
        let calls = self.context.calls();
        for &stream in self.streams.as_flattened().iter().filter(|stream| !stream.is_null()) {
            // SAFETY: it is alive, and used by nobody after this; what is under way ends first.
            unsafe {
                (calls.stream_synchronize)(stream);
                (calls.stream_destroy)(stream);
            }
        }
        if let Ok(pack) = &self.pack {
            pack.unload();
        }
    }
}

impl fmt::Debug for DriverDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("DriverDevice");
        debug.field("id", &self.id()).field("abilities", &self.abilities()).field("counts", &self.counts());
        debug.finish_non_exhaustive()
    }
}
