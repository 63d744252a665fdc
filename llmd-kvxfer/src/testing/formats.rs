//! What reads bytes of peers, for those who throw any bytes at it.
//!
//! Each says whether the bytes are of its format, and panics when what was read is not what is written again.

use llmd_core::ErrorKind;

use crate::grant::Grant;
use crate::handshake::{Hello, Proof, Refused, Welcome};
use crate::session::{Params, text_of};

/// A [`Grant`], and a plan from what it says to itself where one can be made.
///
/// # Panics
///
/// When another grant is written than was read.
pub fn grant(bytes: &[u8]) -> bool {
    let Ok(grant) = Grant::from_bytes(bytes) else { return false };
    let again = Grant::from_bytes(&grant.to_bytes()).expect("what was written can be read");
    assert_eq!(again, grant, "another grant is written than was read");
    if let Ok(plan) = crate::Plan::new(grant.layout(), grant.layout()) {
        let blocks = &grant.blocks()[..grant.blocks().len().min(4)];
        let copies = plan.copies(blocks, blocks).expect("a grant names blocks that its layout has");
        let inside = copies.take(1000).all(|copy| copy.from + copy.len <= grant.layout().end() && copy.from == copy.to);
        assert!(inside, "a copy goes beyond the layout, or elsewhere");
    }
    true
}

/// A message of the handshake.
///
/// # Panics
///
/// When another message is written than was read.
pub fn handshake(bytes: &[u8]) -> bool {
    let hello = Hello::decode(bytes).ok().map(|hello| hello.encode());
    let welcome = Welcome::decode(bytes).ok().map(|welcome| welcome.encode());
    let refused = Refused::decode(bytes).ok().flatten().map(|refused| refused.encode());
    let proof = Proof::decode(bytes).ok().map(|proof| proof.encode());
    let all = [hello, welcome, refused, proof];
    let mut read = all.iter().flatten();
    let is_any = read.next().is_some_and(|again| {
        assert_eq!(again, bytes, "what was read is not what is written again");
        true
    });
    assert!(read.next().is_none(), "one message is read as two");
    is_any
}

/// The text of [`Params`]: as it stands there, or the bytes that a text stands for.
///
/// # Panics
///
/// When another text is written than was read, or something is refused without a word on what was expected.
pub fn params(bytes: &[u8]) -> bool {
    let as_it_stands = std::str::from_utf8(bytes).is_ok_and(params_of_text);
    params_of_text(&text_of(bytes)) || as_it_stands
}

fn params_of_text(text: &str) -> bool {
    match Params::from_text(text) {
        Ok(params) => {
            assert_eq!(params.to_text(), text, "what was read is not what is written again");
            let again = Params::from_text(&params.to_text()).expect("what was written can be read");
            assert_eq!(again, params, "other params are written than were read");
            true
        }
        Err(refused) => {
            let message = refused.to_string();
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{message}");
            assert!(message.contains("expected") && message.len() < 256, "{message}");
            false
        }
    }
}

/// A message between agents over TCP.
///
/// # Panics
///
/// When another message is written than was read.
pub fn tcp_message(bytes: &[u8]) -> bool {
    crate::transport::tcp_messages_again(bytes).into_iter().flatten().fold(false, |_, again| {
        assert_eq!(again, bytes, "what was read is not what is written again");
        true
    })
}

/// A message between agents that share memory.
///
/// # Panics
///
/// When another message is written than was read.
pub fn shm_message(bytes: &[u8]) -> bool {
    crate::transport::shm_message_again(bytes).is_some_and(|again| {
        assert_eq!(again, bytes, "what was read is not what is written again");
        true
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_of_the_fuzzers_are_of_their_formats() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
        let are_all = |name: &str, is_one: fn(&[u8]) -> bool| {
            let seeds = std::fs::read_dir(folder.join(name)).unwrap();
            let seeds: Vec<_> = seeds.map(|seed| std::fs::read(seed.unwrap().path()).unwrap()).collect();
            !seeds.is_empty() && seeds.iter().all(|seed| is_one(seed))
        };
        assert!(are_all("grant", grant));
        assert!(are_all("params", params));
        assert!(are_all("peers", |bytes| handshake(bytes) || shm_message(bytes) || tcp_message(bytes)));
    }
}
