//! What two agents say to each other once they know who the other is.

use llmd_core::Result;

use super::super::{Note, Word};
use crate::handshake::Refused;
use crate::layout::KvLayout;
use crate::lease::{Capability, LeaseId};
use crate::wire::{Reader, Writer};

#[derive(Debug, Eq, PartialEq)]
pub(super) enum Message {
    /// From the side that reads: which NIXL it has.
    Meet { version: String },
    /// From the side that serves: which it has.
    Met { version: String },
    /// Where is this pool?
    Find { pool: u32 },
    /// Here.
    Found(Box<Found>),
    /// Nowhere.
    NotFound { pool: u32, refused: Refused },
    /// The side that reads does so now: it has to be answered.
    Reading,
    /// The pool is not to be read any more.
    Leave { pool: u32 },
    /// It is not.
    Left { pool: u32 },
    /// What is said of a lease.
    Say(Note),
}

/// Where a pool is, and what says whether it may be relied on.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Found {
    pub(super) pool: u32,
    pub(super) layout: KvLayout,
    /// Whether its blocks are summed.
    pub(super) is_sealed: bool,
    pub(super) memory: Place,
    pub(super) seals: Place,
    pub(super) board: Place,
    /// NIXL's, of the agent that has registered it.
    pub(super) metadata: Vec<u8>,
}

/// Bytes of another process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) address: u64,
    pub(super) len: u64,
}

const MEET: u8 = 16;
const MET: u8 = 17;
const FIND: u8 = 18;
const FOUND: u8 = 19;
const NOT_FOUND: u8 = 20;
const READING: u8 = 21;
const LEAVE: u8 = 22;
const LEFT: u8 = 23;
const SAY: u8 = 24;

/// How long the name of a version may be.
pub(super) const MAX_VERSION: usize = 128;
/// How long metadata may be here: some hundred bytes, and as many for each range of memory and device.
pub(super) const MAX_METADATA: usize = 3 << 20;

impl Message {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Meet { version } => {
                writer.byte(MEET);
                writer.text(version);
            }
            Self::Met { version } => {
                writer.byte(MET);
                writer.text(version);
            }
            Self::Find { pool } => numbered(&mut writer, FIND, *pool),
            Self::Found(found) => found.encode(&mut writer),
            Self::NotFound { pool, refused } => {
                numbered(&mut writer, NOT_FOUND, *pool);
                writer.bytes(&refused.encode());
            }
            Self::Reading => writer.byte(READING),
            Self::Leave { pool } => numbered(&mut writer, LEAVE, *pool),
            Self::Left { pool } => numbered(&mut writer, LEFT, *pool),
            Self::Say(note) => encode_note(&mut writer, note),
        }
        writer.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("message", bytes);
        let message = match reader.byte("kind")? {
            MEET => Self::Meet { version: reader.text("version", MAX_VERSION)?.to_owned() },
            MET => Self::Met { version: reader.text("version", MAX_VERSION)?.to_owned() },
            FIND => Self::Find { pool: reader.small("pool")? },
            FOUND => Self::Found(Box::new(Found::decode(&mut reader)?)),
            NOT_FOUND => {
                let pool = reader.small("pool")?;
                let refused = Refused::decode(reader.bytes("refused", 1024)?)?;
                let refused = refused.ok_or_else(|| reader.wrong("refused", format_args!("is no refusal")))?;
                Self::NotFound { pool, refused }
            }
            READING => Self::Reading,
            LEAVE => Self::Leave { pool: reader.small("pool")? },
            LEFT => Self::Left { pool: reader.small("pool")? },
            SAY => Self::Say(decode_note(&mut reader)?),
            other => return Err(reader.wrong("kind", format_args!("is {other}, expected {MEET} to {SAY}"))),
        };
        reader.end()?;
        Ok(message)
    }
}

fn numbered(writer: &mut Writer, kind: u8, pool: u32) {
    writer.byte(kind);
    writer.number(pool.into());
}

impl Found {
    fn encode(&self, writer: &mut Writer) {
        numbered(writer, FOUND, self.pool);
        self.layout.encode(writer);
        writer.byte(self.is_sealed.into());
        for place in [self.memory, self.seals, self.board] {
            writer.number(place.address);
            writer.number(place.len);
        }
        writer.bytes(&self.metadata);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let pool = reader.small("pool")?;
        let layout = KvLayout::decode(reader)?;
        let is_sealed = reader.at_most("is_sealed", 1)? == 1;
        let mut place = |what| {
            let place = Place { address: reader.number(what)?, len: reader.number(what)? };
            match place.address.checked_add(place.len) {
                Some(_) => Ok(place),
                None => Err(reader.wrong(what, format_args!("goes past the end of what can be addressed"))),
            }
        };
        let (memory, seals, board) = (place("memory")?, place("seals")?, place("board")?);
        let metadata = reader.bytes("metadata", MAX_METADATA)?.to_vec();
        Ok(Self { pool, layout, is_sealed, memory, seals, board, metadata })
    }
}

const FINISHED: u8 = 1;
const WANTED: u8 = 2;
const NOTIFY: u8 = 3;

fn encode_note(writer: &mut Writer, note: &Note) {
    writer.byte(SAY);
    writer.number(note.lease.slot.into());
    writer.number(note.lease.generation);
    writer.raw(&note.capability.to_bytes());
    match note.word {
        Word::Finished { consumer } => {
            writer.byte(FINISHED);
            writer.number(consumer);
        }
        Word::Wanted => writer.byte(WANTED),
        Word::Notify { value } => {
            writer.byte(NOTIFY);
            writer.raw(&value.to_le_bytes());
        }
    }
}

fn decode_note(reader: &mut Reader<'_>) -> Result<Note> {
    let lease = LeaseId { slot: reader.small("slot")?, generation: reader.number("generation")? };
    let capability = Capability::from_bytes(reader.array("capability")?);
    let word = match reader.byte("word")? {
        FINISHED => Word::Finished { consumer: reader.number("consumer")? },
        WANTED => Word::Wanted,
        NOTIFY => Word::Notify { value: u128::from_le_bytes(reader.array("value")?) },
        other => return Err(reader.wrong("word", format_args!("is {other}, expected {FINISHED} to {NOTIFY}"))),
    };
    Ok(Note { lease, capability, word })
}

#[cfg(test)]
mod tests {
    use llmd_core::ErrorKind;

    use super::*;

    fn note(word: Word) -> Message {
        let capability = Capability::from_bytes(std::array::from_fn(|place| place as u8 * 13));
        Message::Say(Note { lease: LeaseId { slot: 7, generation: 1 << 50 }, capability, word })
    }

    fn found(memory: Place) -> Message {
        let (layout, metadata) = (KvLayout::opaque("amx", 9, 64).unwrap(), vec![7; 300]);
        let (seals, board) = (Place { address: 1 << 46, len: 144 }, Place { address: 4096, len: 16 });
        Message::Found(Box::new(Found { pool: 7, layout, is_sealed: true, memory, seals, board, metadata }))
    }

    #[test]
    fn messages_come_out_as_they_went_in() {
        let refused = Refused { kind: ErrorKind::Denied, why: "no".into() };
        let messages = [
            Message::Meet { version: "1.5.1".into() },
            Message::Met { version: "1.5.1".into() },
            Message::Find { pool: 7 },
            found(Place { address: u64::MAX - 9, len: 9 }),
            Message::NotFound { pool: 7, refused },
            Message::Reading,
            Message::Leave { pool: 7 },
            Message::Left { pool: 7 },
            note(Word::Wanted),
            note(Word::Finished { consumer: u64::MAX - 5 }),
            note(Word::Notify { value: u128::MAX - 9 }),
        ];
        for message in messages {
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes).unwrap(), message);
            for end in 0..bytes.len() {
                assert_eq!(Message::decode(&bytes[..end]).unwrap_err().kind(), ErrorKind::Corrupt);
            }
        }
    }

    #[test]
    fn memory_without_an_end_is_refused() {
        let endless = found(Place { address: u64::MAX - 9, len: 10 }).encode();
        assert!(Message::decode(&endless).unwrap_err().to_string().contains("goes past the end"));
    }
}
