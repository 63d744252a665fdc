//! Reading JSON, value by value, with the place of whatever is wrong. Nothing is copied but strings with escapes.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::event::fault::Fault;

/// A scalar, whole; or the opening of a container, whose values follow.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Array(Open),
    Bool,
    Integer(i128),
    Null,
    Object(Open),
    /// A number with a fraction or an exponent, or one that no integer holds.
    Other,
    Text(Text<'a>),
}

impl Value<'_> {
    /// What it is, without its content: names of blocks are not shown.
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Self::Array(_) => "an array",
            Self::Bool => "a boolean",
            Self::Integer(..0) => "a negative integer",
            Self::Integer(_) => "an integer",
            Self::Null => "null",
            Self::Object(_) => "an object",
            Self::Other => "a number that is no integer",
            Self::Text(_) => "a string",
        }
    }
}

/// An array or an object that was opened and not closed yet.
#[derive(Debug)]
pub(super) struct Open {
    closing: u8,
    begun: bool,
}

impl Open {
    const fn new(closing: u8) -> Self {
        Self { closing, begun: false }
    }
}

/// A string as it is written, without its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    at: usize,
    raw: &'a [u8],
    escaped: bool,
}

impl<'a> Text<'a> {
    /// What it says.
    pub(super) fn decoded(self) -> Result<Cow<'a, str>, Fault> {
        let text =
            |bytes| std::str::from_utf8(bytes).map_err(|error| Fault::new(self.at, format!("expected UTF-8: {error}")));
        if !self.escaped {
            return text(self.raw).map(Cow::Borrowed);
        }
        let mut decoded = String::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some(escape) = rest.iter().position(|&byte| byte == b'\\') {
            decoded.push_str(text(&rest[..escape])?);
            let (character, len) = unescape(&rest[escape..]).ok_or_else(|| self.bad_escape())?;
            decoded.push(character);
            rest = &rest[escape + len..];
        }
        decoded.push_str(text(rest)?);
        Ok(Cow::Owned(decoded))
    }

    fn bad_escape(self) -> Fault {
        Fault::new(self.at, "a string with an escape that says no character")
    }
}

/// What the escape at the beginning says, and how many bytes it takes.
fn unescape(bytes: &[u8]) -> Option<(char, usize)> {
    let plain = match bytes.get(1)? {
        b'u' => return unescape_unicode(bytes),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        &same @ (b'"' | b'/' | b'\\') => char::from(same),
        _ => return None,
    };
    Some((plain, 2))
}

/// The same for `\u` and four digits, or two such for what UTF-16 says in two parts.
fn unescape_unicode(bytes: &[u8]) -> Option<(char, usize)> {
    let unit = |bytes: &[u8]| {
        let digits = bytes.strip_prefix(b"\\u")?.first_chunk::<4>()?;
        digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
    };
    let first = unit(bytes)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, 6));
    }
    let (high, low) = (first.checked_sub(0xd800)?, unit(&bytes[6..])?.checked_sub(0xdc00)?);
    let pair = (high < 0x400 && low < 0x400).then_some(0x10000 + (high << 10 | low))?;
    Some((char::from_u32(pair)?, 12))
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

    /// Where the next value begins, or would.
    pub(super) fn at(&mut self) -> usize {
        let blanks = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += self.payload[self.at..].iter().take_while(blanks).count();
        self.at
    }

    /// What was read since it stood at `start`.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.payload[start..self.at]
    }

    /// How many bytes are left.
    pub(super) const fn left(&self) -> usize {
        self.payload.len() - self.at
    }

    /// Goes back to a place where it was.
    pub(super) fn rewind(&mut self, at: usize) {
        debug_assert!(at <= self.at, "a cursor goes back to where it was");
        self.at = at;
    }

    /// Reads a scalar, or the opening of a container.
    pub(super) fn value(&mut self) -> Result<Value<'a>, Fault> {
        let start = self.at();
        Ok(match self.payload.get(start) {
            Some(b'[') => self.opened(b']', Value::Array),
            Some(b'{') => self.opened(b'}', Value::Object),
            Some(b'"') => Value::Text(self.text(start)?),
            Some(b'-' | b'0'..=b'9') => self.number(start)?,
            Some(b'n') => self.word(start, b"null", Value::Null)?,
            Some(b't') => self.word(start, b"true", Value::Bool)?,
            Some(b'f') => self.word(start, b"false", Value::Bool)?,
            _ => return Err(self.unexpected("a value")),
        })
    }

    /// Goes to the next item of an array; says whether there is one.
    pub(super) fn item(&mut self, array: &mut Open) -> Result<bool, Fault> {
        let at = self.at();
        match self.payload.get(at) {
            Some(&byte) if byte == array.closing => {
                self.at += 1;
                return Ok(false);
            }
            Some(b',') if array.begun => self.at += 1,
            Some(_) if !array.begun => {}
            _ => return Err(self.unexpected("a comma or an end")),
        }
        array.begun = true;
        let next = self.at();
        match self.payload.get(next) {
            Some(&byte) if byte == array.closing => Err(self.unexpected("a value")),
            _ => Ok(true),
        }
    }

    /// Reads the next key of an object, and goes to its value; `None` at its end.
    pub(super) fn key(&mut self, object: &mut Open) -> Result<Option<Text<'a>>, Fault> {
        if !self.item(object)? {
            return Ok(None);
        }
        let start = self.at();
        if self.payload.get(start) != Some(&b'"') {
            return Err(self.unexpected("a key"));
        }
        let key = self.text(start)?;
        let colon = self.at();
        if self.payload.get(colon) != Some(&b':') {
            return Err(self.unexpected("a colon"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Skips a value with all that it holds, however deep: what is open takes memory, at most a few bytes for each of the
    /// payload, and no stack.
    pub(super) fn skip(&mut self) -> Result<(), Fault> {
        let mut opened = SmallVec::<[Open; 8]>::new();
        loop {
            if let Value::Array(open) | Value::Object(open) = self.value()? {
                opened.push(open);
            }
            loop {
                let Some(innermost) = opened.last_mut() else { return Ok(()) };
                let goes_on =
                    if innermost.closing == b']' { self.item(innermost)? } else { self.key(innermost)?.is_some() };
                if goes_on {
                    break;
                }
                opened.pop();
            }
        }
    }

    fn opened(&mut self, closing: u8, value: impl FnOnce(Open) -> Value<'a>) -> Value<'a> {
        self.at += 1;
        value(Open::new(closing))
    }

    fn word(&mut self, start: usize, word: &[u8], value: Value<'a>) -> Result<Value<'a>, Fault> {
        if !self.payload[start..].starts_with(word) {
            return Err(if word.starts_with(&self.payload[start..]) {
                self.ended(start)
            } else {
                self.unexpected("a value")
            });
        }
        self.at += word.len();
        Ok(value)
    }

    fn text(&mut self, start: usize) -> Result<Text<'a>, Fault> {
        let mut escaped = false;
        let mut at = start + 1;
        loop {
            match self.payload.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                }
                Some(..b' ') => return Err(Fault::new(at, "a control character in a string")),
                Some(_) => at += 1,
                None => return Err(self.ended(start)),
            }
        }
        self.at = at + 1;
        Ok(Text { at: start, raw: &self.payload[start + 1..at], escaped })
    }

    fn number(&mut self, start: usize) -> Result<Value<'a>, Fault> {
        let negative = self.took(b"-");
        let digits = self.some_digits(start)?;
        if let [b'0', _, ..] = digits {
            return Err(Fault::new(start, "a number that begins with a zero"));
        }
        let mut whole = true;
        if self.took(b".") {
            whole = false;
            self.some_digits(start)?;
        }
        if self.took(b"eE") {
            whole = false;
            self.took(b"+-");
            self.some_digits(start)?;
        }
        let add = |number: i128, digit: &u8| number.checked_mul(10)?.checked_add((digit - b'0').into());
        let integer = digits.iter().try_fold(0, add).filter(|_| whole);
        Ok(integer.map_or(Value::Other, |integer| Value::Integer(if negative { -integer } else { integer })))
    }

    fn some_digits(&mut self, number: usize) -> Result<&'a [u8], Fault> {
        let start = self.at;
        self.at += self.payload[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        match self.since(start) {
            [] if self.left() == 0 => Err(self.ended(number)),
            [] => Err(self.unexpected("a digit")),
            digits => Ok(digits),
        }
    }

    fn took(&mut self, any_of: &[u8]) -> bool {
        let there = self.payload.get(self.at).is_some_and(|byte| any_of.contains(byte));
        self.at += usize::from(there);
        there
    }

    fn unexpected(&self, what: &str) -> Fault {
        match self.payload.get(self.at) {
            Some(byte) => Fault::new(self.at, format!("expected {what}, found \"{}\"", byte.escape_ascii())),
            None => self.ended(self.at),
        }
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
