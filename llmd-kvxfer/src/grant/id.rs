//! Which agent: one life of one process.

use std::fmt;

use llmd_core::Result;

use crate::chance;

/// Which agent: random bits that are drawn anew each time one starts, so that one which was restarted is another.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AgentId([u8; 16]);

impl AgentId {
    /// A new one, from the system's randomness.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](llmd_core::ErrorKind::Unavailable) when the system has none.
    pub fn random() -> Result<Self> {
        chance::bytes().map(Self)
    }

    /// The one that these bytes are.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// As it is sent.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentId({self})")
    }
}
