//! That one has a key, without showing it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Who proves, so that nobody can send back what the other side said.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Connecting,
    Listening,
}

/// HMAC-SHA-256 of what both sides said; `None` where there is no key.
pub(super) fn prove(key: Option<&[u8]>, side: Side, said: &[u8]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key?).expect("a key may have any length");
    mac.update(match side {
        Side::Connecting => b"llmd connecting",
        Side::Listening => b"llmd listening ",
    });
    mac.update(said);
    Some(mac.finalize().into_bytes().into())
}
