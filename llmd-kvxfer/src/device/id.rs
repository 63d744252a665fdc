//! Which device, what it can do, and what it did.

use std::fmt;
use std::str::FromStr;

use llmd_core::{Error, ErrorKind, Result};

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

/// As engines call it, `cuda:0` or `rocm:1`, or as this does: `nvidia:0`, `amd:1`, `host:0`. Without a place it is the first.
impl FromStr for DeviceId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, place) = text.split_once(':').unwrap_or((text, "0"));
        let vendor = match name {
            "amd" | "rocm" => Some(Vendor::Amd),
            "host" => Some(Vendor::Host),
            "cuda" | "nvidia" => Some(Vendor::Nvidia),
            _ => None,
        };
        // A sign, which numbers may have, is none here.
        let ordinal = place.parse().ok().filter(|_| place.starts_with(|first: char| first.is_ascii_digit()));
        let id = vendor.zip(ordinal).map(|(vendor, ordinal)| Self { vendor, ordinal });
        id.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("device {text:?}, expected one such as \"cuda:0\" or \"rocm:1\""))
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_the_names_that_engines_give_it() {
        for (text, said) in [("cuda:0", "nvidia:0"), ("cuda", "nvidia:0"), ("rocm:17", "amd:17"), ("host:0", "host:0")]
        {
            let id: DeviceId = text.parse().unwrap();
            assert_eq!(id.to_string(), said);
            assert_eq!(said.parse::<DeviceId>().unwrap(), id);
        }
        for text in ["", "cpu", "cuda:", "cuda:+1", "cuda:-1", "cuda:1:2", "CUDA:0", "0"] {
            let error = text.parse::<DeviceId>().unwrap_err();
            assert_eq!(error.to_string(), format!("device {text:?}, expected one such as \"cuda:0\" or \"rocm:1\""));
        }
    }
}
