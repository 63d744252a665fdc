//! A peer that reads from us.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::super::Home;
use super::lent::Lent;
use super::link::{Incoming, Link};
use super::message::Message;
use super::version;
use crate::handshake::{Listening, Refused};

/// A peer that reads from us, from when it connected.
#[derive(Debug)]
pub(super) struct Client {
    link: Link,
    token: u64,
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
    /// It belongs to this tenant, and must have the NIXL that we have.
    Proved { tenant: String },
    /// It may read what is this tenant's.
    In { tenant: String },
}

impl Client {
    pub(super) fn new(link: Link, token: u64, deadline: Duration) -> Self {
        Self { link, token, stage: Stage::Silent, deadline, is_gone: false }
    }

    /// When its handshake has to be over.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let is_in = matches!(self.stage, Stage::In { .. });
        (!is_in).then_some(self.deadline)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Whether something waits for it to take it.
    pub(super) fn is_going(&self) -> bool {
        self.link.is_going()
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.link.flush()
    }

    /// A pool is not to be read any more.
    pub(super) fn leave(&mut self, pool: u32) -> Result<()> {
        self.link.send(&Message::Leave { pool }.encode())
    }

    /// Takes what it sent. An error ends it.
    pub(super) fn hear(&mut self, now: Duration, home: &Home, ours: &str, lent: &mut Lent) -> Result<()> {
        loop {
            match self.link.receive()? {
                Incoming::Nothing => return Ok(()),
                Incoming::Closed => {
                    self.is_gone = true;
                    return Ok(());
                }
                Incoming::Message(bytes) => self.answer(now, home, ours, lent, &bytes)?,
            }
        }
    }

    fn answer(&mut self, now: Duration, home: &Home, ours: &str, lent: &mut Lent, bytes: &[u8]) -> Result<()> {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Silent) {
            Stage::Silent => {
                let (listening, welcome) = match Listening::on_hello(&home.me, &home.keys, bytes, &[]) {
                    Ok(answer) => answer,
                    Err((error, refused)) => {
                        let _sent = self.link.send(&refused);
                        return Err(error);
                    }
                };
                self.link.send(&welcome)?;
                Stage::Welcomed(listening)
            }
            Stage::Welcomed(listening) => {
                let signed = listening.signed();
                let (_, tenant) = listening.on_proof(bytes).inspect_err(|error| {
                    home.counts.denied.fetch_add(1, Ordering::Relaxed);
                    let _sent = self.link.send(&Refused::of(error).encode());
                })?;
                self.link.sign(signed);
                Stage::Proved { tenant }
            }
            Stage::Proved { tenant } => {
                let Message::Meet { version } = Message::decode(bytes)? else {
                    return Err(Error::new(ErrorKind::Corrupt, "a peer that does not say which NIXL it has"));
                };
                version::is_same(ours, &version).inspect_err(|error| {
                    let _sent = self.link.send(&Refused::of(error).encode());
                })?;
                self.link.send(&Message::Met { version: ours.to_owned() }.encode())?;
                Stage::In { tenant }
            }
            Stage::In { tenant } => {
                self.serve(now, home, lent, &tenant, Message::decode(bytes)?)?;
                Stage::In { tenant }
            }
        };
        Ok(())
    }

    fn serve(&mut self, now: Duration, home: &Home, lent: &mut Lent, tenant: &str, message: Message) -> Result<()> {
        match message {
            Message::Find { pool } => {
                let answer = match lent.find(home, self.token, tenant, pool) {
                    Ok(found) => Message::Found(Box::new(found)),
                    Err(error) => Message::NotFound { pool, refused: Refused::of(&error) },
                };
                self.link.send(&answer.encode())
            }
            Message::Reading => {
                lent.read_from(now);
                Ok(())
            }
            Message::Left { pool } => {
                lent.left(self.token, pool);
                Ok(())
            }
            Message::Say(note) => {
                // What it had no right to say is counted there.
                drop(home.note(note));
                Ok(())
            }
            other => Err(Error::new(ErrorKind::Corrupt, format!("{other:?}, which nobody asked for"))),
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}
