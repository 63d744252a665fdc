//! What two agents of one machine say to each other once they know who the other is.

use std::ops::Range;

use llmd_core::{Error, ErrorKind, Result};

use super::super::{Note, Word};
use super::ring::Slot;
use crate::device::IpcHandle;
use crate::handshake::Refused;
use crate::layout::KvLayout;
use crate::lease::{Capability, LeaseId};
use crate::outcome::Outcome;
use crate::region::Told;
use crate::wire::{Reader, Writer};

/// On the socket, from the side that reads to the side that serves, and back.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Message {
    /// The ring through which the side that reads will say its notes and requests, the one through which it will be answered, and
    /// what wakes it; and back, what wakes the side that serves.
    Ring,
    /// A pool is to be read.
    Map { pool: u32 },
    /// Its memory, its seals and the board of leases.
    Mapped { pool: u32, len: u64, layout: Box<KvLayout> },
    /// Its seals and the board of leases, and where its memory lies, which cannot be mapped.
    Unmapped { pool: u32, len: u64, layout: Box<KvLayout>, told: Told },
    /// Its seals and the board of leases, and what a device imports its memory by.
    Exported { pool: u32, len: u64, layout: Box<KvLayout>, handle: Box<IpcHandle> },
    /// It cannot be.
    NotMapped { pool: u32, refused: Refused },
    /// Memory of so many slots into which blocks may be copied; and back, that it is there.
    Area { area: u32, slots: u32, slot_bytes: u64 },
}

const RING: u8 = 16;
const MAP: u8 = 17;
const MAPPED: u8 = 18;
const NOT_MAPPED: u8 = 19;
const UNMAPPED: u8 = 20;
const AREA: u8 = 21;
const EXPORTED: u8 = 22;

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
            Self::Unmapped { pool, len, layout, told } => {
                writer.byte(UNMAPPED);
                writer.number((*pool).into());
                writer.number(*len);
                layout.encode(&mut writer);
                writer.number(told.pid.into());
                writer.raw(&told.token);
                writer.number(told.token_at);
                writer.number(told.base);
            }
            Self::Exported { pool, len, layout, handle } => {
                writer.byte(EXPORTED);
                writer.number((*pool).into());
                writer.number(*len);
                layout.encode(&mut writer);
                writer.raw(&handle.to_bytes());
            }
            Self::Area { area, slots, slot_bytes } => {
                writer.byte(AREA);
                writer.number((*area).into());
                writer.number((*slots).into());
                writer.number(*slot_bytes);
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
            UNMAPPED => {
                let (pool, len) = (reader.small("pool")?, reader.number("len")?);
                let layout = Box::new(KvLayout::decode(&mut reader)?);
                let (pid, token) = (reader.small("pid")?, reader.array("token")?);
                let (token_at, base) = (reader.number("token_at")?, reader.number("base")?);
                Self::Unmapped { pool, len, layout, told: Told { pid, token, token_at, base } }
            }
            EXPORTED => {
                let (pool, len) = (reader.small("pool")?, reader.number("len")?);
                let layout = Box::new(KvLayout::decode(&mut reader)?);
                let handle = IpcHandle::from_bytes(&reader.array::<{ IpcHandle::BYTES }>("handle")?)?;
                Self::Exported { pool, len, layout, handle: Box::new(handle) }
            }
            AREA => {
                let (area, slots) = (reader.small("area")?, reader.small("slots")?);
                Self::Area { area, slots, slot_bytes: reader.number("slot_bytes")? }
            }
            other => return Err(reader.wrong("kind", format_args!("is {other}, expected {RING} to {EXPORTED}"))),
        };
        reader.end()?;
        Ok(message)
    }
}

/// What the side that reads says through its ring.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Said {
    Note(Note),
    Request(Request),
}

/// Blocks of a lease, by their places, that are to be copied one after the other into a slot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Request {
    pub(super) number: u64,
    pub(super) lease: LeaseId,
    pub(super) capability: Capability,
    pub(super) places: Range<u32>,
    pub(super) area: u32,
    pub(super) slot: u32,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Answer {
    pub(super) number: u64,
    pub(super) outcome: Outcome,
}

const FINISHED: u64 = 1;
const WANTED: u64 = 2;
const NOTIFY: u64 = 3;
const STAGE: u64 = 4;

/// A note as it goes through a ring.
pub(super) fn to_slot(note: &Note) -> Slot {
    let (kind, value) = match note.word {
        Word::Finished { consumer } => (FINISHED, consumer.into()),
        Word::Notify { value } => (NOTIFY, value),
        Word::Wanted => (WANTED, 0),
    };
    let [low, high] = halves(&note.capability);
    [kind, note.lease.slot.into(), note.lease.generation, low, high, value as u64, (value >> 64) as u64, 0]
}

impl Request {
    pub(super) fn to_slot(&self) -> Slot {
        let [low, high] = halves(&self.capability);
        let Self { number, lease, places, area, slot, .. } = self;
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let lies = pair(*area, *slot);
        [STAGE, lease.slot.into(), lease.generation, low, high, *number, pair(places.start, places.end), lies]
    }
}

pub(super) fn from_slot(slot: &Slot) -> Result<Said> {
    let [kind, lease, generation, low, high, number, places, lies] = *slot;
    let corrupt = |what: String| Error::new(ErrorKind::Corrupt, what);
    let slot = u32::try_from(lease).map_err(|_| corrupt(format!("a note of slot {lease}")))?;
    let lease = LeaseId { slot, generation };
    let capability = Capability::from_bytes((u128::from(low) | u128::from(high) << 64).to_le_bytes());
    let word = match (kind, places, lies) {
        (FINISHED, 0, 0) => Word::Finished { consumer: number },
        (NOTIFY, more, 0) => Word::Notify { value: u128::from(number) | u128::from(more) << 64 },
        (WANTED, 0, 0) => Word::Wanted,
        (STAGE, ..) => {
            let (places, area, slot) = (places as u32..(places >> 32) as u32, lies as u32, (lies >> 32) as u32);
            return Ok(Said::Request(Request { number, lease, capability, places, area, slot }));
        }
        (FINISHED | NOTIFY | WANTED, ..) => return Err(corrupt("a note that is longer than notes are".into())),
        (other, ..) => return Err(corrupt(format!("a note of kind {other}, expected {FINISHED} to {STAGE}"))),
    };
    Ok(Said::Note(Note { lease, capability, word }))
}

impl Answer {
    pub(super) fn to_slot(self) -> Slot {
        let place = Outcome::ALL.iter().position(|&there| there == self.outcome).unwrap_or_default();
        [STAGE, self.number, place as u64, 0, 0, 0, 0, 0]
    }

    pub(super) fn from_slot(slot: &Slot) -> Result<Self> {
        let outcome = |place: u64| usize::try_from(place).ok().and_then(|place| Outcome::ALL.get(place)).copied();
        if let [STAGE, number, place, 0, 0, 0, 0, 0] = *slot
            && let Some(outcome) = outcome(place)
        {
            return Ok(Self { number, outcome });
        }
        Err(Error::new(ErrorKind::Corrupt, format!("an answer of {slot:?}")))
    }
}

fn halves(capability: &Capability) -> [u64; 2] {
    let whole = u128::from_le_bytes(capability.to_bytes());
    [whole as u64, (whole >> 64) as u64]
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
            Message::Exported {
                pool: 7,
                len: 1 << 40,
                layout: Box::new(KvLayout::opaque("amx", 9, 64).unwrap()),
                handle: Box::new(IpcHandle::from_bytes(&[1; IpcHandle::BYTES]).unwrap()),
            },
            Message::Unmapped {
                pool: 7,
                len: 1 << 40,
                layout: Box::new(KvLayout::opaque("amx", 9, 64).unwrap()),
                told: Told { pid: 12, token: [9; 16], token_at: 1 << 46, base: u64::MAX },
            },
            Message::Area { area: 1, slots: 16, slot_bytes: 1 << 20 },
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
            assert_eq!(from_slot(&to_slot(&note)).unwrap(), Said::Note(note));
        }
        let lease = LeaseId { slot: 7, generation: 1 << 50 };
        let request = Request { number: 1 << 60, lease, capability, places: 3..u32::MAX, area: 2, slot: 15 };
        assert_eq!(from_slot(&request.to_slot()).unwrap(), Said::Request(request));
        for outcome in Outcome::ALL {
            let answer = Answer { number: u64::MAX, outcome };
            assert_eq!(Answer::from_slot(&answer.to_slot()).unwrap(), answer);
        }
        assert!(Answer::from_slot(&[3, 1, 8, 0, 0, 0, 0, 0]).is_err());
        assert!(Answer::from_slot(&[3, 1, 0, 0, 0, 0, 0, 1]).is_err());
        assert!(from_slot(&[9, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(from_slot(&[1, u64::MAX, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(from_slot(&[1, 0, 0, 0, 0, 0, 0, 1]).is_err());
    }
}
