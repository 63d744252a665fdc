//! A peer that reads from us.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::super::Home;
use super::line::{Ear, Line};
use super::message::{Message, Said, from_slot};
use super::serving::Serving;
use super::socket::{Incoming, Received, Socket};
use crate::handshake::{Listening, Refused};
use crate::region::Known;

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
    In { tenant: String, rings: Option<Rings>, serving: Serving },
}

/// The ring through which it says notes and requests, and the one through which it is answered.
#[derive(Debug)]
struct Rings {
    ear: Ear,
    answers: Arc<Line>,
}

/// How many notes and requests are taken in one go.
const AT_ONCE: usize = 1024;

/// What a client is served with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Serves<'a> {
    /// What wakes us.
    pub(super) doorbell: BorrowedFd<'a>,
    /// What we are known by.
    pub(super) known: &'a Known,
    /// Whether it is given what devices import memory by, and nothing else.
    pub(super) exports: bool,
}

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
    pub(super) fn hear(&mut self, home: &Arc<Home>, by: &Serves<'_>) -> Result<()> {
        loop {
            match self.socket.receive()? {
                Incoming::Nothing => return Ok(()),
                Incoming::Closed => {
                    self.is_gone = true;
                    return Ok(());
                }
                Incoming::Message(received) => self.answer(home, by, received)?,
            }
        }
    }

    /// Takes the notes and requests that it pushed, and says how many.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] when it wrote what nobody writes who means well.
    pub(super) fn take_notes(&mut self, home: &Arc<Home>) -> Result<usize> {
        let Stage::In { tenant, rings: Some(rings), serving } = &mut self.stage else { return Ok(0) };
        for count in 0..AT_ONCE {
            let Some(slot) = rings.ear.take()? else { return Ok(count) };
            match from_slot(&slot)? {
                // What it had no right to say is counted there.
                Said::Note(note) => drop(home.note(note)),
                Said::Request(request) => serving.serve(home, tenant, &rings.answers, request)?,
            }
        }
        Ok(AT_ONCE)
    }

    pub(super) fn sleep(&self) -> bool {
        self.ear().is_none_or(Ear::sleep)
    }

    pub(super) fn awake(&self) {
        if let Some(ear) = self.ear() {
            ear.awake();
        }
    }

    #[cfg(test)]
    pub(super) fn answers(&self) -> &Line {
        match &self.stage {
            Stage::In { rings: Some(rings), .. } => &rings.answers,
            _ => panic!("it is not in"),
        }
    }

    fn ear(&self) -> Option<&Ear> {
        match &self.stage {
            Stage::In { rings, .. } => rings.as_ref().map(|rings| &rings.ear),
            _ => None,
        }
    }

    fn answer(&mut self, home: &Arc<Home>, by: &Serves<'_>, received: Received) -> Result<()> {
        let Received { bytes, fds } = received;
        match std::mem::replace(&mut self.stage, Stage::Silent) {
            Stage::Silent => {
                let (listening, welcome) = match Listening::on_hello(&home.me, &home.keys, &bytes, &[]) {
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
                self.stage = Stage::In { tenant, rings: None, serving: Serving::default() };
            }
            Stage::In { tenant, mut rings, mut serving } => {
                match Message::decode(&bytes)? {
                    Message::Ring => {
                        let [said, answers, wake] =
                            <[_; 3]>::try_from(fds.into_vec()).map_err(|_| unasked("rings without memory"))?;
                        let answers = Arc::new(Line::from_peer(answers, wake)?);
                        rings = Some(Rings { ear: Ear::from_peer(said)?, answers });
                        self.socket.send(&Message::Ring.encode(), &[by.doorbell])?;
                    }
                    Message::Map { pool } => self.map(home, by, &tenant, pool)?,
                    Message::Area { area, slots, slot_bytes } => {
                        let fd = fds.first().ok_or_else(|| unasked("slots without memory"))?;
                        serving.add(area, slots, slot_bytes, fd)?;
                        self.socket.send(&Message::Area { area, slots, slot_bytes }.encode(), &[])?;
                    }
                    other => return Err(unasked(&format!("{other:?}"))),
                }
                self.stage = Stage::In { tenant, rings, serving };
            }
        }
        Ok(())
    }

    fn map(&self, home: &Home, by: &Serves<'_>, tenant: &str, pool: u32) -> Result<()> {
        if by.exports {
            return self.export(home, tenant, pool);
        }
        let there = home.pool(tenant, pool).and_then(|there| {
            let region = there.region();
            // What others can make shorter kills who has mapped it.
            let fd = region.fd().filter(|_| region.keeps_its_length()).map(|fd| fd.try_clone_to_owned()).transpose();
            let fd = fd.map_err(|cause| {
                Error::new(ErrorKind::Exhausted, format!("pool {pool}'s descriptor: {cause}")).with_source(cause)
            })?;
            Ok((there, fd))
        });
        let (there, fd) = match there {
            Ok(there) => there,
            Err(error) => {
                let message = Message::NotMapped { pool, refused: Refused::of(&error) };
                return self.socket.send(&message.encode(), &[]);
            }
        };
        let (len, layout) = (there.region().len() as u64, Box::new(there.layout().clone()));
        let (seals, board) = (there.seals().fd(), home.board.fd());
        match fd {
            Some(fd) => self.socket.send(&Message::Mapped { pool, len, layout }.encode(), &[fd.as_fd(), seals, board]),
            None => {
                let told = by.known.tell(there.region().address());
                self.socket.send(&Message::Unmapped { pool, len, layout, told }.encode(), &[seals, board])
            }
        }
    }

    fn export(&self, home: &Home, tenant: &str, pool: u32) -> Result<()> {
        let exported = home.pool(tenant, pool).and_then(|there| {
            let on_device = there.region().device();
            let on_device = on_device.ok_or_else(|| {
                Error::new(ErrorKind::Unsupported, format!("pool {pool} is in the host, expected a device's memory"))
            })?;
            let handle = on_device.device().export(on_device.memory())?;
            Ok((there, handle))
        });
        match exported {
            Ok((there, handle)) => {
                let (len, layout) = (there.region().len() as u64, Box::new(there.layout().clone()));
                let message = Message::Exported { pool, len, layout, handle: Box::new(handle) };
                self.socket.send(&message.encode(), &[there.seals().fd(), home.board.fd()])
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
