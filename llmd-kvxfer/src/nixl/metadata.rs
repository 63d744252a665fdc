//! What NIXL agents tell each other about themselves.

#![expect(unsafe_code, reason = "who brings a peer's bytes vouches for them")]

use std::fmt;
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};

/// The most bytes that metadata has.
pub const MAX_METADATA: usize = 16 << 20;

/// How an agent is reached and what memory it has registered, in NIXL's own form.
#[derive(Clone, Eq, PartialEq)]
pub struct Metadata(Arc<[u8]>);

impl Metadata {
    /// The metadata of a peer, as it came.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it is longer than [`MAX_METADATA`].
    ///
    /// # Safety
    ///
    /// The bytes are what an agent of the same version of NIXL made, unchanged, and that agent is trusted as this process is: NIXL and UCX
    /// believe what they read there, and may crash on another version's, or on bytes that were changed on the way. So they come over a
    /// connection whose other side has proved who it is, on which nothing changes unseen, and versions were compared there.
    pub unsafe fn vouched(bytes: impl Into<Arc<[u8]>>) -> Result<Self> {
        let bytes = bytes.into();
        if bytes.len() > MAX_METADATA {
            let message = format!("{} bytes of metadata: expected at most {MAX_METADATA}", bytes.len());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(Self(bytes))
    }

    pub(super) fn of_nixl(bytes: Vec<u8>) -> Result<Self> {
        if bytes.len() > MAX_METADATA {
            let message = format!("this agent's metadata has {} bytes: expected at most {MAX_METADATA}", bytes.len());
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        Ok(Self(bytes.into()))
    }

    /// The bytes, for a peer.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metadata of {} bytes", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_without_measure_is_refused() {
        // SAFETY: nothing reads them.
        let [fits, too_long] = [0, 1].map(|more| unsafe { Metadata::vouched(vec![0; MAX_METADATA + more]) });

        assert_eq!(fits.unwrap().as_bytes().len(), MAX_METADATA);
        assert_eq!(too_long.unwrap_err().to_string(), "16777217 bytes of metadata: expected at most 16777216");
    }
}
