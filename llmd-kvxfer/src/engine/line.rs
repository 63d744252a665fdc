//! Messages over a connection: each with its length before it, and signed once both sides have proven who they are.

use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};

use super::stream::{Moved, Stream};
use crate::handshake::{SIGNATURE, Signed};

/// A connection that keeps messages apart. None of its calls waits.
#[derive(Debug)]
pub(super) struct Line {
    stream: Arc<Stream>,
    signed: Option<Signed>,
    inbox: Vec<u8>,
    /// How much of the inbox was read.
    taken: usize,
    outbox: Vec<u8>,
    /// How much of the outbox was sent.
    sent: usize,
    is_closed: bool,
}

/// How long a message may be before both sides have proven who they are, and then.
const MAX_GREETING: usize = 1024;
const MAX_MESSAGE: usize = 8 << 20;
/// How much may wait to be sent.
const MAX_UNSENT: usize = 32 << 20;
/// How much is read at once.
const AT_ONCE: usize = 64 << 10;
const HEAD: usize = 4;

impl Line {
    pub(super) fn new(stream: Stream) -> Self {
        let (inbox, outbox) = (Vec::new(), Vec::new());
        Self { stream: Arc::new(stream), signed: None, inbox, taken: 0, outbox, sent: 0, is_closed: false }
    }

    /// From now on each message is signed, and so is what comes.
    pub(super) fn sign(&mut self, signed: Signed) {
        self.signed = Some(signed);
    }

    pub(super) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Takes a message to be sent, and sends what can be.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`] when too much waits to be sent, and [`ErrorKind::Invalid`] for a message that is too long.
    pub(super) fn say(&mut self, mut message: Vec<u8>) -> Result<()> {
        if message.len() > MAX_MESSAGE {
            let message = format!("a message of {} bytes, expected at most {MAX_MESSAGE}", message.len());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let unsent = self.outbox.len() - self.sent;
        if unsent > MAX_UNSENT {
            let message = format!("{unsent} bytes wait to be sent, expected at most {MAX_UNSENT}");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        if let Some(signed) = &mut self.signed {
            signed.sign(&mut message);
        }
        self.outbox.extend((message.len() as u32).to_le_bytes());
        self.outbox.append(&mut message);
        self.flush();
        Ok(())
    }

    /// Sends what can be; says whether all was.
    pub(super) fn flush(&mut self) -> bool {
        while self.sent < self.outbox.len() && !self.is_closed {
            match self.stream.send(&self.outbox[self.sent..]) {
                Moved::Bytes(sent) => self.sent += sent,
                Moved::Later => return false,
                Moved::Closed => self.is_closed = true,
            }
        }
        self.outbox.clear();
        self.sent = 0;
        true
    }

    /// Whether something waits to be sent.
    pub(super) const fn is_unsent(&self) -> bool {
        self.sent < self.outbox.len()
    }

    /// The next message, if it is here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the connection has ended, and all that came before was heard; [`ErrorKind::Corrupt`] for a
    /// message that is longer than may be, and [`ErrorKind::Denied`] for one that the other side did not sign. Nothing follows then.
    pub(super) fn hear(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(message) = self.next()? {
                return Ok(Some(message));
            }
            if self.is_closed {
                return Err(Error::new(ErrorKind::Unavailable, "the other side is gone"));
            }
            if !self.fill() {
                return Ok(None);
            }
        }
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let rest = &self.inbox[self.taken..];
        let Some((head, rest)) = rest.split_first_chunk::<HEAD>() else { return Ok(None) };
        let len = u32::from_le_bytes(*head) as usize;
        let most = if self.signed.is_some() { MAX_MESSAGE + SIGNATURE } else { MAX_GREETING };
        if len > most {
            let message = format!("a message of {len} bytes, expected at most {most}");
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let Some(message) = rest.get(..len) else { return Ok(None) };
        let message = message.to_vec();
        self.taken += HEAD + len;
        match &mut self.signed {
            Some(signed) => signed.open(message).map(Some),
            None => Ok(Some(message)),
        }
    }

    /// Reads more, if there is more; says whether it did, or found the end.
    fn fill(&mut self) -> bool {
        self.inbox.drain(..self.taken);
        self.taken = 0;
        let len = self.inbox.len();
        self.inbox.resize(len + AT_ONCE, 0);
        let moved = self.stream.receive(&mut self.inbox[len..]);
        let came = if let Moved::Bytes(came) = moved { came } else { 0 };
        self.inbox.truncate(len + came);
        self.is_closed |= moved == Moved::Closed;
        moved != Moved::Later
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn lines() -> (Line, Line) {
        let (one, other) = UnixStream::pair().unwrap();
        (Line::new(Stream::Unix(one)), Line::new(Stream::Unix(other)))
    }

    #[test]
    fn what_is_said_is_heard_in_order_until_the_end() {
        let (mut one, mut other) = lines();
        for message in [&b"first"[..], b"", b"third"] {
            one.say(message.to_vec()).unwrap();
        }
        assert_eq!(other.hear().unwrap().unwrap(), b"first");
        drop(one);
        assert_eq!(other.hear().unwrap().unwrap(), b"");
        assert_eq!(other.hear().unwrap().unwrap(), b"third");
        assert_eq!(other.hear().unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn a_stranger_cannot_make_it_wait_for_more_than_a_greeting() {
        let (one, mut other) = lines();
        assert_eq!(one.stream.send(&u32::MAX.to_le_bytes()), Moved::Bytes(4));
        let said = other.hear().unwrap_err().to_string();
        assert_eq!(said, "a message of 4294967295 bytes, expected at most 1024");
    }
}
