//! Which device, what it can do, and what it did.

use std::fmt;

/// Who made the device, and whose driver speaks to it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Vendor {
    /// AMD: HIP.
    Amd,
    /// The host's own memory.
    Host,
    /// NVIDIA: CUDA.
    Nvidia,
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amd => "amd",
            Self::Host => "host",
            Self::Nvidia => "nvidia",
        })
    }
}

/// One device of this process: `nvidia:0`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a device is this")]
pub struct DeviceId {
    /// Whose it is.
    pub vendor: Vendor,
    /// Its place among those of the vendor that the process sees.
    pub ordinal: u32,
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.vendor, self.ordinal)
    }
}

/// What a device can do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Abilities {
    /// The driver takes many copies in one call. Without, each is a call, which [`Counts::single_copies`] counts.
    pub batch: bool,
    /// Memory is shared between processes by [`IpcHandle`](super::IpcHandle)s.
    pub ipc: bool,
    /// Small copies are packed in device memory first.
    pub pack: bool,
    /// Bytes are copied from one place in its memory to another without the host.
    pub within: bool,
}

/// What a device did since it was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counts {
    /// Copies that were given to the driver many at a time.
    pub batched_copies: u64,
    /// Bytes that were submitted, in either direction.
    pub bytes: u64,
    /// Copies that went through a slab.
    pub packed_copies: u64,
    /// Copies that were a call of the driver each.
    pub single_copies: u64,
    /// Copies of rows at constant distances.
    pub strided_copies: u64,
    /// Tickets that are not done yet.
    pub under_way: u64,
}
