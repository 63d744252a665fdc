//! What one process gives another, so that both reach the same device memory.

use llmd_core::{Error, ErrorKind, Result};

use super::Vendor;

/// Names device memory to other processes of this host.
///
/// A driver's handle names a whole allocation; this one says which bytes of it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a handle is this, on the wire too")]
pub struct IpcHandle {
    /// Whose driver opens it.
    pub vendor: Vendor,
    /// What the driver names the allocation by.
    pub driver: [u8; 64],
    /// Where in it the bytes begin.
    pub offset: u64,
    /// How many they are.
    pub len: u64,
}

impl IpcHandle {
    /// Bytes of one on the wire.
    pub const BYTES: usize = 1 + 8 + 8 + 64;

    /// For the wire: the vendor, then offset and length with the lowest byte first, then what the driver gave.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0] = match self.vendor {
            Vendor::Host => 0,
            Vendor::Nvidia => 1,
            Vendor::Amd => 2,
        };
        bytes[1..9].copy_from_slice(&self.offset.to_le_bytes());
        bytes[9..17].copy_from_slice(&self.len.to_le_bytes());
        bytes[17..].copy_from_slice(&self.driver);
        bytes
    }

    /// From the wire.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] when it is no handle.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let corrupt = |message: String| Error::new(ErrorKind::Corrupt, message);
        let bytes: &[u8; Self::BYTES] = bytes
            .try_into()
            .map_err(|_| corrupt(format!("a handle of {} bytes, expected {}", bytes.len(), Self::BYTES)))?;
        let vendor = match bytes[0] {
            0 => Vendor::Host,
            1 => Vendor::Nvidia,
            2 => Vendor::Amd,
            other => return Err(corrupt(format!("a handle of vendor {other}, expected 0, 1 or 2"))),
        };
        let number = |at: usize| std::array::from_fn(|i| bytes[at + i]);
        let driver = std::array::from_fn(|i| bytes[17 + i]);
        Ok(Self { vendor, driver, offset: u64::from_le_bytes(number(1)), len: u64::from_le_bytes(number(9)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_comes_back_from_the_wire() {
        let driver = std::array::from_fn(|i| i as u8);
        for vendor in [Vendor::Host, Vendor::Nvidia, Vendor::Amd] {
            let handle = IpcHandle { vendor, driver, offset: 1 << 40, len: 77 };
            assert_eq!(IpcHandle::from_bytes(&handle.to_bytes()).unwrap(), handle);
        }
    }

    #[test]
    fn what_is_no_handle_is_corrupt() {
        assert_eq!(IpcHandle::from_bytes(&[1; 80]).unwrap_err().to_string(), "a handle of 80 bytes, expected 81");
        assert_eq!(IpcHandle::from_bytes(&[9; 81]).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
