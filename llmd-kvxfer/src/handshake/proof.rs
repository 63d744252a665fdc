//! That one has a key, without showing it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Who proves, so that nobody can send back what the other side said.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Connecting,
    Listening,
}

impl Side {
    pub(super) const fn label(self) -> &'static [u8] {
        match self {
            Self::Connecting => b"llmd connecting",
            Self::Listening => b"llmd listening ",
        }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Connecting => Self::Listening,
            Self::Listening => Self::Connecting,
        }
    }
}

/// HMAC-SHA-256 of what both sides said; `None` where there is no key.
pub(super) fn prove(key: Option<&[u8]>, side: Side, said: &[u8]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key?).expect("a key may have any length");
    mac.update(side.label());
    mac.update(said);
    Some(mac.finalize().into_bytes().into())
}
