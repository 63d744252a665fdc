//! A peer that reads from us.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::super::{Bell, Home};
use super::message::{Message, from_slot};
use super::ring::{self, Taker};
use super::socket::{Incoming, Received, Socket};
use crate::handshake::{Listening, Refused};
use crate::region::{Access, Words};

/// A peer that reads from us, from when it connected.
#[derive(Debug)]
pub(super) struct Client {
    socket: Socket,
    stage: Stage,
    deadline: Duration,
    is_gone: bool,
}

#[derive(Debug)]
enum Stage {
    /// It has said nothing yet.
    Silent,
    /// It has said hello, and must prove that it may.
    Welcomed(Listening),
    /// It may read what is this tenant's.
    In { tenant: String, ring: Option<Notes> },
}

/// The ring through which it says notes.
#[derive(Debug)]
struct Notes {
    words: Words,
    taker: Taker,
}

/// How many notes are taken in one go.
const AT_ONCE: usize = 1024;

impl Client {
    pub(super) fn new(socket: Socket, deadline: Duration) -> Self {
        Self { socket, stage: Stage::Silent, deadline, is_gone: false }
    }

    /// When its handshake has to be over.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let is_in = matches!(self.stage, Stage::In { .. });
        (!is_in).then_some(self.deadline)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Takes what it sent. An error ends it.
    pub(super) fn hear(&mut self, home: &Arc<Home>, doorbell: &Bell) -> Result<()> {
        loop {
            match self.socket.receive()? {
                Incoming::Nothing => return Ok(()),
                Incoming::Closed => {
                    self.is_gone = true;
                    return Ok(());
                }
                Incoming::Message(received) => self.answer(home, doorbell, received)?,
            }
        }
    }

    /// Takes the notes that it pushed, and says how many; `None` when it wrote what nobody writes who means well.
    pub(super) fn take_notes(&mut self, home: &Home) -> Option<usize> {
        let Stage::In { ring: Some(ring), .. } = &mut self.stage else { return Some(0) };
        for count in 0..AT_ONCE {
            let Some(slot) = ring.taker.take(ring.words.all()).ok()? else { return Some(count) };
            match from_slot(&slot) {
                // What it had no right to say is counted there.
                Ok(note) => drop(home.note(note)),
                Err(_) => return None,
            }
        }
        Some(AT_ONCE)
    }

    pub(super) fn sleep(&self) -> bool {
        self.ring().is_none_or(|ring| ring.taker.sleep(ring.words.all()))
    }

    pub(super) fn awake(&self) {
        if let Some(ring) = self.ring() {
            ring.taker.wake(ring.words.all());
        }
    }

    fn ring(&self) -> Option<&Notes> {
        match &self.stage {
            Stage::In { ring, .. } => ring.as_ref(),
            _ => None,
        }
    }

    fn answer(&mut self, home: &Arc<Home>, doorbell: &Bell, received: Received) -> Result<()> {
        let Received { bytes, fds } = received;
        match std::mem::replace(&mut self.stage, Stage::Silent) {
            Stage::Silent => {
                let (listening, welcome) = match Listening::on_hello(&home.me, &home.keys, &bytes) {
                    Ok(answer) => answer,
                    Err((error, refused)) => {
                        let _sent = self.socket.send(&refused, &[]);
                        return Err(error);
                    }
                };
                self.socket.send(&welcome, &[])?;
                self.stage = Stage::Welcomed(listening);
            }
            Stage::Welcomed(listening) => {
                let (_, tenant) = listening.on_proof(&bytes).inspect_err(|error| {
                    home.counts.denied.fetch_add(1, Ordering::Relaxed);
                    let _sent = self.socket.send(&Refused::of(error).encode(), &[]);
                })?;
                self.stage = Stage::In { tenant, ring: None };
            }
            Stage::In { tenant, mut ring } => {
                match Message::decode(&bytes)? {
                    Message::Ring => {
                        let [fd] = <[_; 1]>::try_from(fds.into_vec()).map_err(|_| unasked("a ring without memory"))?;
                        let words = Words::from_peer(fd, ring::WORDS, Access::Write)?;
                        ring = Some(Notes { words, taker: Taker::default() });
                        self.socket.send(&Message::Ring.encode(), &[doorbell.as_fd()])?;
                    }
                    Message::Map { pool } => self.map(home, &tenant, pool)?,
                    other => return Err(unasked(&format!("{other:?}"))),
                }
                self.stage = Stage::In { tenant, ring };
            }
        }
        Ok(())
    }

    fn map(&self, home: &Home, tenant: &str, pool: u32) -> Result<()> {
        let there = home.pool(tenant, pool).and_then(|there| {
            let region = there.region();
            let fd = region.fd().filter(|_| region.keeps_its_length()).map(|fd| fd.try_clone_to_owned());
            match fd {
                Some(Ok(fd)) => Ok((there, fd)),
                Some(Err(cause)) => Err(Error::new(ErrorKind::Exhausted, format!("pool {pool}'s descriptor: {cause}"))),
                None => {
                    Err(Error::new(ErrorKind::Unsupported, format!("pool {pool} is of memory that cannot be mapped")))
                }
            }
        });
        match there {
            Ok((there, fd)) => {
                let (len, layout) = (there.region().len() as u64, Box::new(there.layout().clone()));
                let message = Message::Mapped { pool, len, layout };
                self.socket.send(&message.encode(), &[fd.as_fd(), there.seals().fd(), home.board.fd()])
            }
            Err(error) => {
                let message = Message::NotMapped { pool, refused: Refused::of(&error) };
                self.socket.send(&message.encode(), &[])
            }
        }
    }
}

fn unasked(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{what}, which nobody asked for"))
}
