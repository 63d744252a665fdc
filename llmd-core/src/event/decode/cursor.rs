//! Reading msgpack, value by value, with the place of whatever is wrong.

use rmp::Marker;

use crate::event::fault::Fault;

/// A scalar, whole; or the opening of a container, whose values follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Head<'a> {
    Array(u32),
    Bin(&'a [u8]),
    Bool(bool),
    Ext,
    Float(f64),
    Map(u32),
    /// An integer below zero.
    Negative(i64),
    Nil,
    /// A string, which need not be UTF-8.
    Str(&'a [u8]),
    Unsigned(u64),
}

impl Head<'_> {
    /// What it is, without its content: names of blocks are not shown.
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Self::Array(_) => "an array",
            Self::Bin(_) => "bytes",
            Self::Bool(_) => "a boolean",
            Self::Ext => "an extension",
            Self::Float(_) => "a float",
            Self::Map(_) => "a map",
            Self::Negative(_) => "a negative integer",
            Self::Nil => "nil",
            Self::Str(_) => "a string",
            Self::Unsigned(_) => "an integer",
        }
    }
}

/// A place in a payload. What lies before it has been read.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(payload: &'a [u8]) -> Self {
        Self { payload, at: 0 }
    }

    /// The next byte to be read.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// How many bytes are left. As every value takes one, a container that claims more cannot be whole.
    pub(super) const fn left(&self) -> usize {
        self.payload.len() - self.at
    }

    /// Goes back to a place where it was.
    pub(super) fn rewind(&mut self, at: usize) {
        debug_assert!(at <= self.at, "a cursor goes back to where it was");
        self.at = at;
    }

    /// Reads a scalar, or the opening of a container.
    pub(super) fn head(&mut self) -> Result<Head<'a>, Fault> {
        let start = self.at;
        let [marker] = self.take(start)?;
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Head::Nil,
            Marker::False => Head::Bool(false),
            Marker::True => Head::Bool(true),

            Marker::FixPos(number) => Head::Unsigned(number.into()),
            Marker::U8 => Head::Unsigned(u8::from_be_bytes(self.take(start)?).into()),
            Marker::U16 => Head::Unsigned(u16::from_be_bytes(self.take(start)?).into()),
            Marker::U32 => Head::Unsigned(u32::from_be_bytes(self.take(start)?).into()),
            Marker::U64 => Head::Unsigned(u64::from_be_bytes(self.take(start)?)),

            Marker::FixNeg(number) => signed(number.into()),
            Marker::I8 => signed(i8::from_be_bytes(self.take(start)?).into()),
            Marker::I16 => signed(i16::from_be_bytes(self.take(start)?).into()),
            Marker::I32 => signed(i32::from_be_bytes(self.take(start)?).into()),
            Marker::I64 => signed(i64::from_be_bytes(self.take(start)?)),

            Marker::F32 => Head::Float(f32::from_be_bytes(self.take(start)?).into()),
            Marker::F64 => Head::Float(f64::from_be_bytes(self.take(start)?)),

            Marker::FixStr(len) => Head::Str(self.slice(start, len.into())?),
            Marker::Str8 => Head::Str(self.sized(start, 1)?),
            Marker::Str16 => Head::Str(self.sized(start, 2)?),
            Marker::Str32 => Head::Str(self.sized(start, 4)?),

            Marker::Bin8 => Head::Bin(self.sized(start, 1)?),
            Marker::Bin16 => Head::Bin(self.sized(start, 2)?),
            Marker::Bin32 => Head::Bin(self.sized(start, 4)?),

            Marker::FixArray(len) => Head::Array(len.into()),
            Marker::Array16 => Head::Array(self.len(start, 2)?),
            Marker::Array32 => Head::Array(self.len(start, 4)?),

            Marker::FixMap(len) => Head::Map(len.into()),
            Marker::Map16 => Head::Map(self.len(start, 2)?),
            Marker::Map32 => Head::Map(self.len(start, 4)?),

            Marker::FixExt1 => self.ext(start, 1)?,
            Marker::FixExt2 => self.ext(start, 2)?,
            Marker::FixExt4 => self.ext(start, 4)?,
            Marker::FixExt8 => self.ext(start, 8)?,
            Marker::FixExt16 => self.ext(start, 16)?,
            Marker::Ext8 => self.sized_ext(start, 1)?,
            Marker::Ext16 => self.sized_ext(start, 2)?,
            Marker::Ext32 => self.sized_ext(start, 4)?,

            Marker::Reserved => return Err(Fault::new(start, "byte 0xc1, which msgpack never uses")),
        })
    }

    /// Skips a value with all that it holds, however deep: it counts the values that are still to come, and so needs
    /// neither a stack nor a limit.
    pub(super) fn skip(&mut self) -> Result<(), Fault> {
        let mut to_come = 1_u64;
        while to_come > 0 {
            to_come += match self.head()? {
                Head::Array(len) => u64::from(len),
                Head::Map(len) => 2 * u64::from(len),
                _ => 0,
            };
            to_come -= 1;
        }
        Ok(())
    }

    fn take<const N: usize>(&mut self, start: usize) -> Result<[u8; N], Fault> {
        let Some((bytes, _)) = self.payload[self.at..].split_first_chunk() else { return Err(self.ended(start)) };
        self.at += N;
        Ok(*bytes)
    }

    fn slice(&mut self, start: usize, len: usize) -> Result<&'a [u8], Fault> {
        let Some((bytes, _)) = self.payload[self.at..].split_at_checked(len) else { return Err(self.ended(start)) };
        self.at += len;
        Ok(bytes)
    }

    /// A length of `width` bytes.
    fn len(&mut self, start: usize, width: usize) -> Result<u32, Fault> {
        let bytes = self.slice(start, width)?;
        Ok(bytes.iter().fold(0, |len, &byte| len << 8 | u32::from(byte)))
    }

    /// A length of `width` bytes, and as many bytes as it says.
    fn sized(&mut self, start: usize, width: usize) -> Result<&'a [u8], Fault> {
        let len = self.len(start, width)?;
        self.slice(start, len as usize)
    }

    fn ext(&mut self, start: usize, len: usize) -> Result<Head<'a>, Fault> {
        let _kind: [u8; 1] = self.take(start)?;
        self.slice(start, len)?;
        Ok(Head::Ext)
    }

    fn sized_ext(&mut self, start: usize, width: usize) -> Result<Head<'a>, Fault> {
        let len = self.len(start, width)?;
        self.ext(start, len as usize)
    }

    fn ended(&self, start: usize) -> Fault {
        let end = self.payload.len();
        let message = if start == end {
            format!("the payload ends at byte {end}, where a value was expected")
        } else {
            format!("the payload ends at byte {end}, inside the value that begins at byte {start}")
        };
        Fault::new(end, message)
    }
}

const fn signed<'a>(number: i64) -> Head<'a> {
    if number < 0 { Head::Negative(number) } else { Head::Unsigned(number as u64) }
}
