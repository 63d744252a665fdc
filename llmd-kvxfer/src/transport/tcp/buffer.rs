//! Bytes that came and were not looked at yet.

use llmd_core::Result;

use super::link::Link;
use super::message::unframe;
use super::socket::{Moved, Socket};

/// Bytes that came, in a room that does not grow.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn new(room: usize) -> Self {
        Self { bytes: vec![0; room].into(), start: 0, end: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn skip(&mut self, count: usize) {
        self.start += count;
    }

    /// Takes more from where `receive` has it.
    pub(super) fn fill(&mut self, receive: impl FnOnce(&mut [u8]) -> Result<Moved>) -> Result<Moved> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let moved = receive(&mut self.bytes[self.end..])?;
        if let Moved::Bytes(count) = moved {
            self.end += count;
        }
        Ok(moved)
    }

    /// The next frame's body, when all of it is here.
    pub(super) fn frame(&mut self, most: usize) -> Result<Option<&[u8]>> {
        let there = &self.bytes[self.start..self.end];
        let Some(body) = unframe(there, most)? else { return Ok(None) };
        self.start += body.len() + 4;
        Ok(Some(body))
    }
}

/// Bytes that are to be sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    pub(super) fn frame(&mut self, body: &[u8]) {
        super::message::frame(&mut self.bytes, body);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == self.sent
    }

    /// So many were sent.
    pub(super) fn skip(&mut self, count: usize) {
        self.sent += count;
        if self.is_empty() {
            self.bytes.clear();
            self.sent = 0;
        }
    }

    /// Sends what there is. Says no when the connection takes no more now.
    pub(super) fn flush(&mut self, link: &mut Link, socket: &Socket) -> Result<bool> {
        while !self.is_empty() {
            match link.send(socket, self.bytes())? {
                Moved::Bytes(count) => self.skip(count),
                Moved::Later | Moved::Closed => return Ok(false),
            }
        }
        link.flush(socket)
    }
}
