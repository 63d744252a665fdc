//! What is to go where.

use llmd_core::{Error, ErrorKind, Result};

use crate::device::batch::{DeviceCopy, Direction};
use crate::device::{DeviceId, DeviceMemory, HostMemory, Pinned};
use crate::plan::Copy;

/// The host's side of a transfer.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "memory is pinned or it is not")]
pub enum HostSide {
    /// Memory that the device does not reach: its bytes go through a buffer that is pinned.
    Pageable(HostMemory),
    /// Memory that the device reaches by itself.
    Pinned(Pinned),
}

impl HostSide {
    pub(super) const fn memory(&self) -> &HostMemory {
        match self {
            Self::Pageable(memory) => memory,
            Self::Pinned(pinned) => pinned.memory(),
        }
    }
}

/// Copies between memory of a device and memory of the host.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub(super) direction: Direction,
    pub(super) memory: DeviceMemory,
    pub(super) host: HostSide,
    pub(super) copies: Vec<DeviceCopy>,
}

impl Transfer {
    /// From the host to the device, by the copies of a [`Plan`](crate::Plan) or others.
    pub fn load(memory: &DeviceMemory, host: HostSide, copies: impl IntoIterator<Item = Copy>) -> Self {
        let copies = copies.into_iter().map(|Copy { from, to, len }| DeviceCopy { device: to, host: from, len });
        Self::new(Direction::ToDevice, memory, host, copies)
    }

    /// From the device to the host, by the copies of a [`Plan`](crate::Plan) or others.
    pub fn store(memory: &DeviceMemory, host: HostSide, copies: impl IntoIterator<Item = Copy>) -> Self {
        let copies = copies.into_iter().map(|Copy { from, to, len }| DeviceCopy { device: from, host: to, len });
        Self::new(Direction::ToHost, memory, host, copies)
    }

    /// In either direction.
    pub fn new(
        direction: Direction,
        memory: &DeviceMemory,
        host: HostSide,
        copies: impl IntoIterator<Item = DeviceCopy>,
    ) -> Self {
        Self { direction, memory: memory.clone(), host, copies: copies.into_iter().collect() }
    }

    /// Refuses what reaches outside, and memory of another device.
    pub(super) fn check(&self, device: DeviceId) -> Result<()> {
        let pinned = match &self.host {
            HostSide::Pageable(_) => None,
            HostSide::Pinned(pinned) => Some(pinned.device()),
        };
        if let Some(other) = [Some(self.memory.device()), pinned].into_iter().flatten().find(|&other| other != device) {
            return Err(Error::new(ErrorKind::Invalid, format!("memory of {other}, expected that of {device}")));
        }
        for copy in &self.copies {
            self.memory.check(copy.device, copy.len)?;
            self.host.memory().check(copy.host, copy.len)?;
        }
        Ok(())
    }

    /// Leaves out copies of nothing, puts the others in the host's order where that makes fewer of them cross the bus, joins those
    /// that follow each other, and cuts what is larger than a buffer.
    pub(super) fn arrange(&mut self, slot_bytes: u64, packs: bool) {
        self.copies.retain(|copy| copy.len > 0);
        if packs {
            self.copies.sort_unstable_by_key(|copy| copy.host);
        }
        self.copies.dedup_by(|next, last| {
            let is_next = last.is_followed_by(next);
            last.len += if is_next { next.len } else { 0 };
            is_next
        });
        if matches!(self.host, HostSide::Pinned(_)) || self.copies.iter().all(|copy| copy.len <= slot_bytes) {
            return;
        }
        let cut = |copy: DeviceCopy| {
            (0..copy.len).step_by(usize::try_from(slot_bytes).unwrap_or(usize::MAX)).map(move |at| DeviceCopy {
                device: copy.device + at,
                host: copy.host + at,
                len: slot_bytes.min(copy.len - at),
            })
        };
        self.copies = std::mem::take(&mut self.copies).into_iter().flat_map(cut).collect();
    }
}
