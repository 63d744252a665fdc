//! The sum by which a block is known to have arrived as it was sent.

use std::fmt;

use crc_fast::{CrcAlgorithm, Digest};

/// CRC-64/NVME, taken in as many parts as one likes.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct Sum {
    /// What the register of the definition holds: all ones before the first byte.
    register: u64,
}

impl Sum {
    /// Adds these bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.register = after(self.register, bytes);
    }

    /// The sum of what was added.
    pub(crate) const fn value(self) -> u64 {
        !self.register
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) const fn register(self) -> u64 {
        self.register
    }

    /// Goes on from a register that stands `folded` bytes before its end: those that were folded onto it.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn resume(&mut self, folded: &[u8]) {
        self.register = after(0, folded);
    }
}

impl Default for Sum {
    fn default() -> Self {
        Self { register: u64::MAX }
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sum({:016x})", self.value())
    }
}

fn after(register: u64, bytes: &[u8]) -> u64 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc64Nvme, register);
    digest.update(bytes);
    digest.get_state()
}
