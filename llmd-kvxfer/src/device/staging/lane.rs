//! One part of a transfer under way, and the buffers that it may need.

#![expect(unsafe_code, reason = "bytes are copied while others are trusted to leave them alone")]

use llmd_core::Result;

use super::costs::{Part, PerDirection, Way};
use super::transfer::HostSide;
use super::{StagingLimits, TransferId};
use crate::device::batch::{DeviceCopy, Direction, Rows, bytes};
use crate::device::{Device, DeviceMemory, HostMemory, Pinned, Slab, Ticket};

/// What copies that are neither packed nor staged may have together in one part: as much as hides what a part takes by itself.
const DIRECT_BYTES: u64 = 256 << 20;
/// And how many there may be.
const DIRECT_COPIES: usize = 1 << 16;

pub(super) struct Lane {
    limits: StagingLimits,
    /// For what is not pinned.
    buffer: Pinned,
    /// Where the device packs.
    slab: Option<Slab>,
    flying: Option<Flying>,
}

/// What a lane may take of a transfer.
pub(super) struct Flight<'a> {
    pub(super) id: TransferId,
    pub(super) direction: Direction,
    pub(super) memory: &'a DeviceMemory,
    pub(super) host: &'a HostSide,
    pub(super) costs: &'a PerDirection,
    pub(super) copies: &'a [DeviceCopy],
}

struct Flying {
    id: TransferId,
    ticket: Ticket,
    /// What has to be copied out of the buffer when it is full, and where to.
    unpack: Option<(HostMemory, Vec<DeviceCopy>)>,
}

impl Lane {
    pub(super) fn new(device: &dyn Device, limits: StagingLimits) -> Result<Self> {
        let len = usize::try_from(limits.slot_bytes).unwrap_or(usize::MAX);
        let buffer = device.pin(&HostMemory::allocate(len)?)?;
        let packs = device.abilities().pack;
        let slab = packs.then(|| Slab::new(device, limits.slot_copies, limits.slot_bytes)).transpose()?;
        Ok(Self { limits, buffer, slab, flying: None })
    }

    pub(super) const fn packs(&self) -> bool {
        self.slab.is_some()
    }

    pub(super) const fn is_free(&self) -> bool {
        self.flying.is_none()
    }

    /// What came down, if it did: of which transfer, and how.
    pub(super) fn land(&mut self) -> Option<(TransferId, Result<()>)> {
        let is_done = self.flying.as_mut()?.ticket.is_done();
        if matches!(is_done, Ok(false)) {
            return None;
        }
        let flying = self.flying.take()?;
        let landed = is_done.and_then(|_| match &flying.unpack {
            None => Ok(()),
            // SAFETY: the copies into the buffer are done; whoever submitted the transfer vouches for the rest.
            Some((host, copies)) => unsafe { between(Direction::ToHost, self.buffer.memory(), host, copies) },
        });
        Some((flying.id, landed))
    }

    /// Takes as many of the copies as go together, and says how many and which way.
    pub(super) fn take_off(&mut self, device: &dyn Device, flight: &Flight<'_>) -> Result<(Way, usize)> {
        let small = first(flight.copies, self.limits.slot_copies, self.limits.slot_bytes);
        let part = match flight.host {
            HostSide::Pageable(_) => staged(&flight.copies[..small]),
            HostSide::Pinned(_) => flight.copies[..small].to_vec(),
        };
        let rows = Rows::of(&part);
        // Even a single copy may be larger than the slab, where the host's side is pinned.
        let when_packed = (self.packs() && bytes(&part) <= self.limits.slot_bytes).then(|| crossing(&part));
        let shape = Part { copies: part.len() as u64, bytes: bytes(&part), when_packed, are_rows: rows.is_some() };
        let way = flight.costs.way(&shape);
        let (ticket, copies, unpack) = match flight.host {
            HostSide::Pageable(host) => {
                if flight.direction == Direction::ToDevice {
                    // SAFETY: nothing is under way that uses the buffer; whoever submitted the transfer vouches for the rest.
                    unsafe { between(flight.direction, self.buffer.memory(), host, &flight.copies[..small]) }?;
                }
                let unpack =
                    (flight.direction == Direction::ToHost).then(|| (host.clone(), flight.copies[..small].to_vec()));
                (self.submit(device, flight, &self.buffer, way, rows, &part)?, small, unpack)
            }
            HostSide::Pinned(host) if way == Way::Batch => {
                let large = first(flight.copies, DIRECT_COPIES, DIRECT_BYTES);
                (self.submit(device, flight, host, way, rows, &flight.copies[..large])?, large, None)
            }
            HostSide::Pinned(host) => (self.submit(device, flight, host, way, rows, &part)?, small, None),
        };
        self.flying = Some(Flying { id: flight.id, ticket, unpack });
        Ok((way, copies))
    }

    fn submit(
        &self,
        device: &dyn Device,
        flight: &Flight<'_>,
        host: &Pinned,
        way: Way,
        rows: Option<Rows>,
        copies: &[DeviceCopy],
    ) -> Result<Ticket> {
        let (direction, memory) = (flight.direction, flight.memory);
        // SAFETY: whoever submitted the transfer vouches for both sides until it is done; buffer and slab are this lane's, and
        // nothing is under way that uses them.
        unsafe {
            match (way, rows, &self.slab) {
                (Way::Rows, Some(rows), _) => device.copy_strided(direction, memory, host, &rows),
                (Way::Packed, _, Some(slab)) => device.copy_packed(direction, memory, host, copies, slab),
                _ => device.copy(direction, memory, host, copies),
            }
        }
    }
}

/// How many of the first copies are within these limits: at least one.
fn first(copies: &[DeviceCopy], most: usize, bytes: u64) -> usize {
    let mut left = bytes;
    let fits = |copy: &&DeviceCopy| {
        let rest = left.checked_sub(copy.len);
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    copies.iter().take(most).take_while(fits).count().max(1)
}

/// The same copies, with the bytes of the host one behind the other in a buffer.
fn staged(copies: &[DeviceCopy]) -> Vec<DeviceCopy> {
    let mut at = 0;
    let place = |copy: &DeviceCopy| {
        let place = DeviceCopy { host: at, ..*copy };
        at += copy.len;
        place
    };
    copies.iter().map(place).collect()
}

/// How many copies cross the bus when these are packed in their order.
fn crossing(copies: &[DeviceCopy]) -> u64 {
    let breaks = copies.windows(2).filter(|pair| pair[0].host + pair[0].len != pair[1].host).count();
    breaks as u64 + 1
}

/// Copies between the host's side and a buffer in which the same bytes are one behind the other.
///
/// # Safety
///
/// Nobody else writes what is read, nor uses what is written, meanwhile.
unsafe fn between(direction: Direction, buffer: &HostMemory, host: &HostMemory, copies: &[DeviceCopy]) -> Result<()> {
    let mut at = 0;
    for copy in copies {
        buffer.check(at, copy.len)?;
        host.check(copy.host, copy.len)?;
        // SAFETY: both are within, as was just checked, and nobody else uses them, as the caller vouches for; they do not overlap,
        // since the buffer is a lane's own.
        unsafe {
            let there = buffer.start().as_ptr().add(at as usize);
            let here = host.start().as_ptr().add(copy.host as usize);
            match direction {
                Direction::ToDevice => there.copy_from_nonoverlapping(here, copy.len as usize),
                Direction::ToHost => here.copy_from_nonoverlapping(there, copy.len as usize),
            }
        }
        at += copy.len;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(device: u64, host: u64, len: u64) -> DeviceCopy {
        DeviceCopy { device, host, len }
    }

    #[test]
    fn a_part_ends_where_a_limit_is_reached_and_has_at_least_one_copy() {
        let copies = [copy(0, 0, 40), copy(90, 90, 40), copy(200, 200, 40)];
        assert_eq!(first(&copies, 3, 1000), 3);
        assert_eq!(first(&copies, 2, 1000), 2);
        assert_eq!(first(&copies, 3, 119), 2);
        assert_eq!(first(&copies, 3, 39), 1);
    }

    #[test]
    fn what_follows_each_other_in_the_host_crosses_as_one() {
        assert_eq!(crossing(&[copy(900, 0, 10), copy(0, 10, 10), copy(500, 30, 10)]), 2);
        assert_eq!(crossing(&staged(&[copy(900, 70, 10), copy(0, 0, 10), copy(500, 30, 10)])), 1);
    }
}
