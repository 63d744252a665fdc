//! What is copied between a device and the host.

use llmd_core::{Error, ErrorKind, Result};

use super::memory::{DeviceMemory, Pinned};
use crate::plan::Copy;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there are two ways")]
pub enum Direction {
    /// From the host to the device: a load.
    ToDevice,
    /// From the device to the host: a store.
    ToHost,
}

impl Direction {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::ToDevice, Self::ToHost];
}

/// Bytes that follow each other on both sides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a copy is this")]
pub struct DeviceCopy {
    /// Where they begin in the device's memory.
    pub device: u64,
    /// And in the host's.
    pub host: u64,
    /// How many.
    pub len: u64,
}

impl DeviceCopy {
    /// Whether `next` goes on where this ends, on both sides.
    pub(super) fn is_followed_by(&self, next: &Self) -> bool {
        (self.device.checked_add(self.len), self.host.checked_add(self.len)) == (Some(next.device), Some(next.host))
    }
}

/// Rows of equal length at constant distances on both sides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "rows are this")]
pub struct Rows {
    /// The first.
    pub first: DeviceCopy,
    /// How many there are.
    pub count: u64,
    /// From one to the next in the device's memory.
    pub device_stride: u64,
    /// And in the host's.
    pub host_stride: u64,
}

/// The longest stride that drivers take.
const MAX_STRIDE: u64 = i32::MAX as u64;

impl Rows {
    /// The copies of a batch as rows, if that is what they are: at least two, of equal length, upward at constant distances.
    pub(super) fn of(batch: &[DeviceCopy]) -> Option<Self> {
        let [first, second, ..] = batch else { return None };
        let strides = |a: &DeviceCopy, b: &DeviceCopy| {
            Some((b.device.checked_sub(a.device)?, b.host.checked_sub(a.host)?)).filter(|_| a.len == b.len)
        };
        let (device_stride, host_stride) = strides(first, second)?;
        let is_constant =
            batch.windows(2).all(|pair| strides(&pair[0], &pair[1]) == Some((device_stride, host_stride)));
        let rows = Self { first: *first, count: batch.len() as u64, device_stride, host_stride };
        (is_constant && rows.check_strides().is_ok()).then_some(rows)
    }

    fn check_strides(&self) -> Result<()> {
        let allowed = self.first.len..=MAX_STRIDE;
        match [self.device_stride, self.host_stride].iter().find(|stride| !allowed.contains(stride)) {
            None => Ok(()),
            Some(stride) => {
                let message =
                    format!("rows of {} bytes every {stride}, expected a stride of at least that", self.first.len);
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }

    /// All of it as one span of each side.
    fn span(&self) -> Result<[(u64, u64); 2]> {
        let last = self.count.checked_sub(1);
        let span = |start: u64, stride: u64| Some((start, last?.checked_mul(stride)?.checked_add(self.first.len)?));
        let device = span(self.first.device, self.device_stride);
        let host = span(self.first.host, self.host_stride);
        device.zip(host).map(|(device, host)| [device, host]).ok_or_else(|| {
            let message = format!("{} rows every {} and {} bytes", self.count, self.device_stride, self.host_stride);
            Error::new(ErrorKind::Invalid, format!("{message}, expected at least one, and fewer than memory has"))
        })
    }

    /// Refuses rows that overlap or reach outside.
    pub(super) fn check(&self, memory: &DeviceMemory, host: &Pinned) -> Result<()> {
        self.check_strides()?;
        let [(device, device_len), (offset, host_len)] = self.span()?;
        memory.check(device, device_len)?;
        host.memory().check(offset, host_len)
    }
}

/// Refuses copies that reach outside.
pub(super) fn check(batch: &[DeviceCopy], memory: &DeviceMemory, host: &Pinned) -> Result<()> {
    for copy in batch {
        memory.check(copy.device, copy.len)?;
        host.memory().check(copy.host, copy.len)?;
    }
    Ok(())
}

/// Refuses copies within a device's memory that reach outside.
pub(super) fn check_within(batch: &[Copy], from: &DeviceMemory, to: &DeviceMemory) -> Result<()> {
    for copy in batch {
        from.check(copy.from, copy.len)?;
        to.check(copy.to, copy.len)?;
    }
    Ok(())
}

/// How many bytes they are together; each is within memory.
pub(super) fn bytes(batch: &[DeviceCopy]) -> u64 {
    batch.iter().map(|copy| copy.len).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(device: u64, host: u64, len: u64) -> DeviceCopy {
        DeviceCopy { device, host, len }
    }

    #[test]
    fn copies_at_constant_distances_are_rows() {
        let batch = [copy(0, 100, 8), copy(32, 110, 8), copy(64, 120, 8)];
        let rows = Rows { first: batch[0], count: 3, device_stride: 32, host_stride: 10 };
        assert_eq!(Rows::of(&batch), Some(rows));
        assert_eq!(Rows::of(&batch[..1]), None);
    }

    #[test]
    fn what_goes_down_overlaps_or_changes_is_none() {
        for batch in [
            [copy(64, 0, 8), copy(32, 8, 8), copy(0, 16, 8)],
            [copy(0, 0, 8), copy(4, 8, 8), copy(8, 16, 8)],
            [copy(0, 0, 8), copy(32, 8, 8), copy(65, 16, 8)],
            [copy(0, 0, 8), copy(32, 8, 8), copy(64, 16, 9)],
            [copy(0, 0, 8), copy(1 << 31, 8, 8), copy(1 << 32, 16, 8)],
        ] {
            assert_eq!(Rows::of(&batch), None, "{batch:?}");
        }
    }
}
