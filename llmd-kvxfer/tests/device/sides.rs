//! Memory of a device and of the host which only one test touches.

#![expect(unsafe_code, reason = "bytes are copied while nobody else touches them")]

use std::sync::Arc;

use llmd_core::Result;
use llmd_kvxfer::device::{
    Device, DeviceCopy, DeviceMemory, Direction, HostMemory, IpcHandle, Pinned, Staging, Ticket, Transfer, TransferId,
};

pub(crate) struct Sides {
    pub(crate) device: Arc<dyn Device>,
    pub(crate) memory: DeviceMemory,
    pub(crate) pinned: Pinned,
}

impl Sides {
    pub(crate) fn new(device: Arc<dyn Device>, len: u64) -> Self {
        let memory = device.allocate(len).expect("the device does it");
        let pinned =
            device.pin(&HostMemory::allocate(len as usize).expect("the device does it")).expect("the device does it");
        Self { device, memory, pinned }
    }

    pub(crate) fn len(&self) -> u64 {
        self.memory.len()
    }

    /// Copies; whoever calls touches neither side until the ticket is done.
    pub(crate) fn submit(&self, direction: Direction, batch: &[DeviceCopy]) -> Result<Ticket> {
        // SAFETY: the sides are one test's own, which waits.
        unsafe { self.device.copy(direction, &self.memory, &self.pinned, batch) }
    }

    pub(crate) fn whole(&self) -> [DeviceCopy; 1] {
        [DeviceCopy { device: 0, host: 0, len: self.len() }]
    }

    pub(crate) fn fill(&self, bytes: &[u8]) {
        write(self.pinned.memory(), bytes);
        self.submit(Direction::ToDevice, &self.whole()).and_then(Ticket::wait).expect("the device does it");
    }

    pub(crate) fn fetch(&self) -> Vec<u8> {
        self.submit(Direction::ToHost, &self.whole()).and_then(Ticket::wait).expect("the device does it");
        read(self.pinned.memory())
    }
}

pub(crate) fn write(memory: &HostMemory, bytes: &[u8]) {
    // SAFETY: nothing is under way.
    unsafe { memory.write(0, bytes) }.expect("the device does it");
}

pub(crate) fn read(memory: &HostMemory) -> Vec<u8> {
    let mut bytes = vec![0; memory.len()];
    // SAFETY: nothing is under way.
    unsafe { memory.read(0, &mut bytes) }.expect("the device does it");
    bytes
}

/// Submits; whoever calls touches neither side until the transfer is done.
pub(crate) fn submit(staging: &mut Staging, transfer: Transfer) -> Result<TransferId> {
    // SAFETY: the sides are one test's own, which waits.
    unsafe { staging.submit(transfer) }
}

/// Polls until nothing waits.
pub(crate) fn drain(staging: &mut Staging) -> Vec<(TransferId, Result<()>)> {
    let mut done = Vec::new();
    while staging.waiting() > 0 {
        staging.poll(&mut done);
        std::thread::yield_now();
    }
    done
}

pub(crate) fn import(device: &dyn Device, handle: &IpcHandle) -> Result<DeviceMemory> {
    // SAFETY: the test that exported it waits until this process ended.
    unsafe { device.import(handle) }
}

/// Bytes that tell where they are.
pub(crate) fn pattern(which: u64, len: u64) -> Vec<u8> {
    let byte = |at: u64| (at.wrapping_add(which << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    (0..len).map(byte).collect()
}

/// What follows the first so many bytes of the device's side, as if somebody else had allocated it.
pub(crate) fn adopt(sides: &Sides, offset: u64) -> DeviceMemory {
    let (address, len) = (sides.memory.address() + offset, sides.len() - offset);
    // SAFETY: the memory lives as long as what keeps it, which is the memory.
    unsafe { sides.device.adopt(address, len, Arc::new(sides.memory.clone())) }.expect("the device does it")
}
