//! The host's memory as a device that exports it to its own process, as no driver does.

#![expect(unsafe_code, reason = "bytes are copied while nobody else touches them")]

use llmd_core::Result;
use llmd_kvxfer::Copy;
use llmd_kvxfer::device::{
    Abilities, Counts, Device, DeviceCopy, DeviceId, DeviceMemory, Direction, Host, HostMemory, IpcHandle, Pinned,
    Rows, Ticket,
};

#[derive(Debug)]
pub(crate) struct Exporting(Host);

impl Exporting {
    pub(crate) fn new() -> Self {
        Self(Host::new())
    }
}

impl Device for Exporting {
    fn id(&self) -> DeviceId {
        self.0.id()
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = self.0.abilities();
        abilities.ipc = true;
        abilities
    }

    fn counts(&self) -> Counts {
        self.0.counts()
    }

    fn allocate(&self, len: u64) -> Result<DeviceMemory> {
        self.0.allocate(len)
    }

    fn pin(&self, memory: &HostMemory) -> Result<Pinned> {
        self.0.pin(memory)
    }

    unsafe fn copy(
        &self,
        direction: Direction,
        memory: &DeviceMemory,
        host: &Pinned,
        batch: &[DeviceCopy],
    ) -> Result<Ticket> {
        // SAFETY: the caller vouches for the same.
        unsafe { self.0.copy(direction, memory, host, batch) }
    }

    unsafe fn copy_strided(
        &self,
        direction: Direction,
        memory: &DeviceMemory,
        host: &Pinned,
        rows: &Rows,
    ) -> Result<Ticket> {
        // SAFETY: as above.
        unsafe { self.0.copy_strided(direction, memory, host, rows) }
    }

    unsafe fn copy_within(&self, from: &DeviceMemory, to: &DeviceMemory, batch: &[Copy]) -> Result<Ticket> {
        // SAFETY: as above.
        unsafe { self.0.copy_within(from, to, batch) }
    }

    fn export(&self, memory: &DeviceMemory) -> Result<IpcHandle> {
        let mut bytes = [0; IpcHandle::BYTES];
        bytes[9..17].copy_from_slice(&memory.len().to_le_bytes());
        bytes[17..25].copy_from_slice(&memory.address().to_le_bytes());
        IpcHandle::from_bytes(&bytes)
    }

    unsafe fn import(&self, handle: &IpcHandle) -> Result<DeviceMemory> {
        let bytes = handle.to_bytes();
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|place| bytes[at + place]));
        // SAFETY: those who exported it keep it.
        unsafe { DeviceMemory::new(self.id(), number(17), number(9), std::sync::Arc::new(())) }
    }
}
