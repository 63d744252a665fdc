//! What follows a handshake, signed: nobody in between changes, adds, drops or repeats a message.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use llmd_core::{Error, ErrorKind, Result};
use sha2::Sha256;

use super::proof::Side;

/// Signs what one side says after a handshake, and checks what the other said. Where there is no key it does neither.
#[derive(Clone)]
pub(crate) struct Signed {
    /// This connection's own: made of the tenant's and of what both sides said.
    key: Option<[u8; 32]>,
    side: Side,
    said: u64,
    heard: u64,
}

/// How many bytes a signature has.
pub(crate) const SIGNATURE: usize = 32;

impl Signed {
    pub(super) fn new(key: Option<&[u8]>, side: Side, said: &[u8]) -> Self {
        let key = key.map(|key| {
            let mut mac = keyed(key);
            mac.update(b"llmd connection");
            mac.update(said);
            mac.finalize().into_bytes().into()
        });
        Self { key, side, said: 0, heard: 0 }
    }

    /// Puts a signature after the message that is said next.
    pub(crate) fn sign(&mut self, message: &mut Vec<u8>) {
        if let Some(key) = &self.key {
            let signature = signature(key, self.side, self.said, message).finalize().into_bytes();
            message.extend_from_slice(&signature);
        }
        self.said += 1;
    }

    /// The message that was heard next, without its signature.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] when the other side did not say this, or not now.
    pub(crate) fn open(&mut self, mut message: Vec<u8>) -> Result<Vec<u8>> {
        if let Some(key) = &self.key {
            let denied = || Error::new(ErrorKind::Denied, "a message that the peer did not sign, or not as its next");
            let end = message.len().checked_sub(SIGNATURE).ok_or_else(denied)?;
            let (said, proof) = message.split_at(end);
            signature(key, self.side.other(), self.heard, said).verify_slice(proof).map_err(|_| denied())?;
            message.truncate(end);
        }
        self.heard += 1;
        Ok(message)
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length")
}

fn signature(key: &[u8], side: Side, place: u64, message: &[u8]) -> Hmac<Sha256> {
    let mut mac = keyed(key);
    mac.update(side.label());
    mac.update(&place.to_le_bytes());
    mac.update(message);
    mac
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({} said, {} heard)", self.said, self.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(key: Option<&[u8]>) -> (Signed, Signed) {
        (Signed::new(key, Side::Connecting, b"hello"), Signed::new(key, Side::Listening, b"hello"))
    }

    fn signed(by: &mut Signed, message: &[u8]) -> Vec<u8> {
        let mut bytes = message.to_vec();
        by.sign(&mut bytes);
        bytes
    }

    #[test]
    fn what_one_says_the_other_hears() {
        for key in [None, Some(&b"secret"[..])] {
            let (mut one, mut other) = sides(key);
            for message in [&b"map 3"[..], b"", b"reading"] {
                assert_eq!(other.open(signed(&mut one, message)).unwrap(), message);
                assert_eq!(one.open(signed(&mut other, message)).unwrap(), message);
            }
        }
    }

    #[test]
    fn what_is_changed_repeated_left_out_or_sent_back_is_denied() {
        let (mut one, mut other) = sides(Some(b"secret"));
        let (first, second) = (signed(&mut one, b"first"), signed(&mut one, b"second"));
        let denied = |by: &mut Signed, bytes: &[u8]| {
            assert_eq!(by.open(bytes.to_vec()).unwrap_err().kind(), ErrorKind::Denied);
        };
        denied(&mut other, &second);
        for place in 0..first.len() {
            let mut changed = first.clone();
            changed[place] ^= 1;
            denied(&mut other, &changed);
        }
        denied(&mut other, b"short");
        denied(&mut one, &first);
        assert_eq!(other.open(first.clone()).unwrap(), b"first");
        denied(&mut other, &first);
        assert_eq!(other.open(second).unwrap(), b"second");
        let (_, mut of_another) = sides(Some(b"guessed"));
        denied(&mut of_another, &first);
        let mut later = Signed::new(Some(b"secret"), Side::Listening, b"another hello");
        denied(&mut later, &first);
    }
}
