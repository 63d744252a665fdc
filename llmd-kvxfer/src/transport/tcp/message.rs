//! What two agents say to each other on a connection once they know who the other is.
//!
//! Everything is a frame: four bytes that say how long it is, the lowest first, and then what it is. The side that reads asks; the
//! side that serves answers in whatever order it can. After the frame that announces them, the bytes of a segment follow in the
//! order of the plan's copies, and after those a frame that says whether the lease still held.

use std::ops::Range;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::super::{Note, Word};
use crate::handshake::Refused;
use crate::layout::KvLayout;
use crate::lease::{Capability, LeaseId};
use crate::wire::{Reader, Writer};

/// How long a frame of the side that reads may be, and one of a handshake.
pub(super) const MAX_ASK: usize = 1024;
/// How long a frame of the side that serves may be.
pub(super) const MAX_ANSWER: usize = 16 << 10;
/// How many periods one segment may have.
pub(super) const MAX_PERIODS: usize = 1024;
/// How many pairs of layouts one connection knows at once.
pub(super) const MAX_VIEWS: usize = 64;
/// How long the side that serves may be asked to wait for blocks to be sealed.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// From the side that reads.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Ask {
    /// From now on this number means: of this pool, which is laid out like this, into one that is laid out like that.
    View { number: u8, pool: u32, from: Box<KvLayout>, to: Box<KvLayout> },
    /// A segment is wanted.
    Read(Read),
    /// A segment is no longer wanted.
    Leave { id: u64 },
    /// Something of a lease.
    Note(Note),
}

/// A segment that is wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Read {
    /// Its number on this connection.
    pub(super) id: u64,
    pub(super) view: u8,
    pub(super) lease: LeaseId,
    pub(super) capability: Capability,
    /// Which of the lease's blocks, by their places.
    pub(super) places: Range<u32>,
    /// Into how many blocks.
    pub(super) written: u32,
    pub(super) is_checked: bool,
    /// How long it is waited for blocks that are not sealed yet.
    pub(super) wait: Duration,
}

/// From the side that serves.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// The bytes of a segment follow: so many, each period's with this sum, or no sums where nothing is checked. Those periods
    /// are wrong where they come from.
    Bytes { id: u64, len: u64, sums: Vec<u64>, wrong: Vec<u32> },
    /// There are none, and why.
    Refused { id: u64, refused: Refused },
    /// All bytes were sent; and whether the lease still held then.
    Over { id: u64, is_held: bool },
}

const VIEW: u8 = 1;
const READ: u8 = 2;
const LEAVE: u8 = 3;
const FINISHED: u8 = 4;
const WANTED: u8 = 5;
const NOTIFY: u8 = 6;

const BYTES: u8 = 1;
const REFUSED: u8 = 2;
const OVER: u8 = 3;

/// Adds a frame.
pub(super) fn frame(out: &mut Vec<u8>, body: &[u8]) {
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(body);
}

/// The first frame's body, when it is all there; what follows it begins after four bytes more than its length.
pub(super) fn unframe(bytes: &[u8], most: usize) -> Result<Option<&[u8]>> {
    let Some((len, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let len = u32::from_le_bytes(*len) as usize;
    if len > most {
        return Err(Error::new(ErrorKind::Corrupt, format!("a frame of {len} bytes, expected at most {most}")));
    }
    Ok(rest.get(..len))
}

impl Ask {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::View { number, pool, from, to } => {
                writer.byte(VIEW);
                writer.byte(*number);
                writer.number((*pool).into());
                from.encode(&mut writer);
                to.encode(&mut writer);
            }
            Self::Read(Read { id, view, lease, capability, places, written, is_checked, wait }) => {
                writer.byte(READ);
                writer.number(*id);
                writer.byte(*view);
                encode_lease(&mut writer, *lease, capability);
                writer.number(places.start.into());
                writer.number(places.end.into());
                writer.number((*written).into());
                writer.byte((*is_checked).into());
                writer.number(wait.min(&MAX_WAIT).as_millis() as u64);
            }
            Self::Leave { id } => {
                writer.byte(LEAVE);
                writer.number(*id);
            }
            Self::Note(Note { lease, capability, word }) => {
                writer.byte(match word {
                    Word::Finished { .. } => FINISHED,
                    Word::Notify { .. } => NOTIFY,
                    Word::Wanted => WANTED,
                });
                encode_lease(&mut writer, *lease, capability);
                match word {
                    Word::Finished { consumer } => writer.raw(&consumer.to_le_bytes()),
                    Word::Notify { value } => writer.raw(&value.to_le_bytes()),
                    Word::Wanted => {}
                }
            }
        }
        writer.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("request", bytes);
        let ask = match reader.byte("kind")? {
            VIEW => Self::View {
                number: view(&mut reader)?,
                pool: reader.small("pool")?,
                from: Box::new(KvLayout::decode(&mut reader)?),
                to: Box::new(KvLayout::decode(&mut reader)?),
            },
            READ => {
                let (id, view) = (reader.number("id")?, view(&mut reader)?);
                let (lease, capability) = decode_lease(&mut reader)?;
                let places = reader.small("places")?..reader.small("places")?;
                let written = reader.small("written")?;
                let is_checked = reader.at_most("checked", 1)? == 1;
                let wait = Duration::from_millis(reader.at_most("wait", MAX_WAIT.as_millis() as u64)?);
                Self::Read(Read { id, view, lease, capability, places, written, is_checked, wait })
            }
            LEAVE => Self::Leave { id: reader.number("id")? },
            FINISHED => {
                let (lease, capability) = decode_lease(&mut reader)?;
                let consumer = u64::from_le_bytes(reader.array("consumer")?);
                Self::Note(Note { lease, capability, word: Word::Finished { consumer } })
            }
            NOTIFY => {
                let (lease, capability) = decode_lease(&mut reader)?;
                let value = u128::from_le_bytes(reader.array("value")?);
                Self::Note(Note { lease, capability, word: Word::Notify { value } })
            }
            WANTED => {
                let (lease, capability) = decode_lease(&mut reader)?;
                Self::Note(Note { lease, capability, word: Word::Wanted })
            }
            other => return Err(reader.wrong("kind", format_args!("is {other}, expected {VIEW} to {NOTIFY}"))),
        };
        reader.end()?;
        Ok(ask)
    }
}

impl Answer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Bytes { id, len, sums, wrong } => {
                writer.byte(BYTES);
                writer.number(*id);
                writer.number(*len);
                writer.number(sums.len() as u64);
                sums.iter().for_each(|sum| writer.raw(&sum.to_le_bytes()));
                writer.blocks(wrong);
            }
            Self::Refused { id, refused } => {
                writer.byte(REFUSED);
                writer.number(*id);
                writer.bytes(&refused.encode());
            }
            Self::Over { id, is_held } => {
                writer.byte(OVER);
                writer.number(*id);
                writer.byte((*is_held).into());
            }
        }
        writer.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("answer", bytes);
        let answer = match reader.byte("kind")? {
            BYTES => {
                let (id, len) = (reader.number("id")?, reader.number("len")?);
                let count = reader.at_most("sums", MAX_PERIODS as u64)? as usize;
                let (sums, _) = reader.raw("sums", count * size_of::<u64>())?.as_chunks();
                let sums = sums.iter().map(|sum| u64::from_le_bytes(*sum)).collect();
                Self::Bytes { id, len, sums, wrong: reader.blocks("wrong", MAX_PERIODS)? }
            }
            REFUSED => {
                let id = reader.number("id")?;
                let refused = Refused::decode(reader.bytes("refused", MAX_ASK)?)?;
                let refused = refused.ok_or_else(|| reader.wrong("refused", format_args!("is no refusal")))?;
                Self::Refused { id, refused }
            }
            OVER => Self::Over { id: reader.number("id")?, is_held: reader.at_most("held", 1)? == 1 },
            other => return Err(reader.wrong("kind", format_args!("is {other}, expected {BYTES} to {OVER}"))),
        };
        reader.end()?;
        Ok(answer)
    }
}

fn view(reader: &mut Reader<'_>) -> Result<u8> {
    match reader.byte("view")? {
        there if usize::from(there) < MAX_VIEWS => Ok(there),
        there => Err(reader.wrong("view", format_args!("is {there}, expected one below {MAX_VIEWS}"))),
    }
}

fn encode_lease(writer: &mut Writer, lease: LeaseId, capability: &Capability) {
    writer.number(lease.slot.into());
    writer.number(lease.generation);
    writer.raw(&capability.to_bytes());
}

fn decode_lease(reader: &mut Reader<'_>) -> Result<(LeaseId, Capability)> {
    let lease = LeaseId { slot: reader.small("lease")?, generation: reader.number("lease")? };
    Ok((lease, Capability::from_bytes(reader.array("capability")?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asks() -> [(Ask, &'static str); 6] {
        let layout = || Box::new(KvLayout::opaque("amx", 9, 64).unwrap());
        let lease = LeaseId { slot: 7, generation: 1 << 50 };
        let capability = Capability::from_bytes([0x11; 16]);
        let read = Read {
            id: 300,
            view: 2,
            lease,
            capability,
            places: 3..900,
            written: 897,
            is_checked: true,
            wait: Duration::from_millis(1500),
        };
        let note = |word| Ask::Note(Note { lease, capability, word });
        [
            (Ask::View { number: 2, pool: 70, from: layout(), to: layout() }, "view"),
            (Ask::Read(read), "read"),
            (Ask::Leave { id: 300 }, "leave"),
            (note(Word::Finished { consumer: u64::MAX - 5 }), "finished"),
            (note(Word::Wanted), "wanted"),
            (note(Word::Notify { value: u128::MAX - 9 }), "notify"),
        ]
    }

    fn answers() -> [(Answer, &'static str); 3] {
        let refused = Refused { kind: ErrorKind::Denied, why: "no".into() };
        [
            (Answer::Bytes { id: 300, len: 1 << 21, sums: vec![1, u64::MAX], wrong: vec![1] }, "bytes"),
            (Answer::Refused { id: 300, refused }, "refused"),
            (Answer::Over { id: 300, is_held: true }, "over"),
        ]
    }

    /// Bytes of each version are kept: one that is changed by accident is found here, not in a fleet that is half upgraded.
    #[test]
    fn the_bytes_of_version_1_stay_as_they_are() {
        let asks = asks().map(|(ask, name)| {
            assert_eq!(Ask::decode(&ask.encode()).unwrap(), ask);
            (ask.encode(), name)
        });
        let answers = answers().map(|(answer, name)| {
            assert_eq!(Answer::decode(&answer.encode()).unwrap(), answer);
            (answer.encode(), name)
        });
        for (body, name) in asks.into_iter().chain(answers) {
            let mut bytes = Vec::new();
            frame(&mut bytes, &body);
            assert_eq!(unframe(&bytes, MAX_ASK).unwrap(), Some(&body[..]));
            let path = format!("{}/tests/golden/tcp-1/{name}.hex", env!("CARGO_MANIFEST_DIR"));
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            expect_test::expect_file![path].assert_eq(&format!("{hex}\n"));
        }
    }

    #[test]
    fn what_ends_early_or_is_too_long_is_refused() {
        for bytes in asks().map(|(ask, _)| ask.encode()) {
            for end in 0..bytes.len() {
                assert_eq!(Ask::decode(&bytes[..end]).unwrap_err().kind(), ErrorKind::Corrupt);
            }
        }
        for bytes in answers().map(|(answer, _)| answer.encode()) {
            for end in 0..bytes.len() {
                assert_eq!(Answer::decode(&bytes[..end]).unwrap_err().kind(), ErrorKind::Corrupt);
            }
        }
        assert_eq!(unframe(&[1, 0, 0], 8).unwrap(), None);
        assert_eq!(unframe(&[2, 0, 0, 0, 7], 8).unwrap(), None);
        let long = unframe(&[9, 0, 0, 0], 8).unwrap_err();
        assert_eq!(long.to_string(), "a frame of 9 bytes, expected at most 8");
        assert!(Ask::decode(&[READ, 1, 64]).unwrap_err().to_string().contains("is 64, expected one below 64"));
    }

    #[test]
    fn the_longest_that_is_said_fits_into_a_frame() {
        let sums = vec![u64::MAX; MAX_PERIODS];
        let wrong = (0..MAX_PERIODS as u32).rev().collect();
        let bytes = Answer::Bytes { id: u64::MAX, len: u64::MAX, sums, wrong }.encode();
        assert!(bytes.len() <= MAX_ANSWER, "{}", bytes.len());
        let format = "x".repeat(4096);
        let layout = || Box::new(KvLayout::opaque("amx", 9, 64).unwrap().of_format(&format));
        let view = Ask::View { number: 63, pool: u32::MAX, from: layout(), to: layout() }.encode();
        assert!(view.len() <= MAX_ASK, "{}", view.len());
    }

    proptest! {
        #[test]
        fn bytes_that_are_none_are_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0_u8..6) {
            let _said = unframe(&bytes, MAX_ASK);
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            let (_ask, _answer) = (Ask::decode(&bytes), Answer::decode(&bytes));
        }
    }
}
