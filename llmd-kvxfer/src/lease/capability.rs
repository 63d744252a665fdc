//! What nobody can guess.

use std::fmt;

use llmd_core::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};

/// 128 random bits. Who has them may read what they were given for.
#[derive(Clone, Copy)]
pub struct Capability([u8; 16]);

impl Capability {
    /// A new one, from the system's randomness.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the system has none.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|cause| {
            Error::new(ErrorKind::Unavailable, "the system's random numbers cannot be had").with_source(cause)
        })?;
        Ok(Self(bytes))
    }

    /// The one that these bytes are.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// As it is sent.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// What may be shown to anyone: by it one that has the capability can tell that it is the right one, and nobody can make the
    /// capability.
    pub fn tag(&self) -> u64 {
        let digest = Sha256::new().chain_update(b"llmd lease tag").chain_update(self.0).finalize();
        u64::from_le_bytes(std::array::from_fn(|place| digest[place]))
    }
}

/// Takes as long whatever differs.
impl PartialEq for Capability {
    fn eq(&self, other: &Self) -> bool {
        std::hint::black_box(u128::from_ne_bytes(self.0) ^ u128::from_ne_bytes(other.0)) == 0
    }
}

impl Eq for Capability {}

/// Shows nothing of it.
impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Capability(..)")
    }
}
