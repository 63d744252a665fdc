//! What two agents of one machine say to each other once they know who the other is.

use llmd_core::{Error, ErrorKind, Result};

use super::super::{Note, Word};
use super::ring::Slot;
use crate::handshake::Refused;
use crate::layout::KvLayout;
use crate::lease::{Capability, LeaseId};
use crate::wire::{Reader, Writer};

/// On the socket, from the side that reads to the side that serves, and back.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Message {
    /// The ring through which the side that reads will say its notes; and back, what wakes the side that serves.
    Ring,
    /// A pool is to be mapped.
    Map { pool: u32 },
    /// Its memory, its seals and the board of leases.
    Mapped { pool: u32, len: u64, layout: Box<KvLayout> },
    /// It cannot be.
    NotMapped { pool: u32, refused: Refused },
}

const RING: u8 = 16;
const MAP: u8 = 17;
const MAPPED: u8 = 18;
const NOT_MAPPED: u8 = 19;

impl Message {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Ring => writer.byte(RING),
            Self::Map { pool } => {
                writer.byte(MAP);
                writer.number((*pool).into());
            }
            Self::Mapped { pool, len, layout } => {
                writer.byte(MAPPED);
                writer.number((*pool).into());
                writer.number(*len);
                layout.encode(&mut writer);
            }
            Self::NotMapped { pool, refused } => {
                writer.byte(NOT_MAPPED);
                writer.number((*pool).into());
                writer.bytes(&refused.encode());
            }
        }
        writer.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("message", bytes);
        let message = match reader.byte("kind")? {
            RING => Self::Ring,
            MAP => Self::Map { pool: reader.small("pool")? },
            MAPPED => {
                let (pool, len) = (reader.small("pool")?, reader.number("len")?);
                Self::Mapped { pool, len, layout: Box::new(KvLayout::decode(&mut reader)?) }
            }
            NOT_MAPPED => {
                let pool = reader.small("pool")?;
                let refused = Refused::decode(reader.bytes("refused", 1024)?)?;
                let refused = refused.ok_or_else(|| reader.wrong("refused", format_args!("is no refusal")))?;
                Self::NotMapped { pool, refused }
            }
            other => return Err(reader.wrong("kind", format_args!("is {other}, expected {RING} to {NOT_MAPPED}"))),
        };
        reader.end()?;
        Ok(message)
    }
}

const FINISHED: u64 = 1;
const WANTED: u64 = 2;
const NOTIFY: u64 = 3;

/// A note as it goes through a ring.
pub(super) fn to_slot(note: &Note) -> Slot {
    let (kind, value) = match note.word {
        Word::Finished { consumer } => (FINISHED, consumer.into()),
        Word::Notify { value } => (NOTIFY, value),
        Word::Wanted => (WANTED, 0),
    };
    let capability = u128::from_le_bytes(note.capability.to_bytes());
    let (low, high) = (capability as u64, (capability >> 64) as u64);
    [kind, note.lease.slot.into(), note.lease.generation, low, high, value as u64, (value >> 64) as u64, 0]
}

pub(super) fn from_slot(slot: &Slot) -> Result<Note> {
    let [kind, lease, generation, low, high, value, more, 0] = *slot else {
        return Err(Error::new(ErrorKind::Corrupt, "a note that is longer than notes are"));
    };
    let word = match (kind, more) {
        (FINISHED, 0) => Word::Finished { consumer: value },
        (NOTIFY, _) => Word::Notify { value: u128::from(value) | u128::from(more) << 64 },
        (WANTED, 0) => Word::Wanted,
        _ => return Err(Error::new(ErrorKind::Corrupt, format!("a note of kind {kind}, expected 1 to 3"))),
    };
    let slot = u32::try_from(lease);
    let slot = slot.map_err(|_| Error::new(ErrorKind::Corrupt, format!("a note of slot {lease}")))?;
    let capability = Capability::from_bytes((u128::from(low) | u128::from(high) << 64).to_le_bytes());
    Ok(Note { lease: LeaseId { slot, generation }, capability, word })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_notes_come_out_as_they_went_in() {
        let refused = Refused { kind: ErrorKind::Denied, why: "no".into() };
        let messages = [
            Message::Ring,
            Message::Map { pool: 7 },
            Message::Mapped { pool: 7, len: 1 << 40, layout: Box::new(KvLayout::opaque("amx", 9, 64).unwrap()) },
            Message::NotMapped { pool: 7, refused },
        ];
        for message in messages {
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes).unwrap(), message);
            for end in 0..bytes.len() {
                assert_eq!(Message::decode(&bytes[..end]).unwrap_err().kind(), ErrorKind::Corrupt);
            }
        }
        let capability = Capability::from_bytes(std::array::from_fn(|place| place as u8 * 13));
        for word in [Word::Wanted, Word::Finished { consumer: u64::MAX - 5 }, Word::Notify { value: u128::MAX - 9 }] {
            let note = Note { lease: LeaseId { slot: 7, generation: 1 << 50 }, capability, word };
            assert_eq!(from_slot(&to_slot(&note)).unwrap(), note);
        }
        assert!(from_slot(&[9, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(from_slot(&[1, u64::MAX, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(from_slot(&[1, 0, 0, 0, 0, 0, 0, 1]).is_err());
    }
}
