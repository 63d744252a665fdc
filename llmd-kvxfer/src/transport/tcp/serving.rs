//! The side of a connection that serves.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::super::poller::Interest;
use super::buffer::{Buffer, Outgoing};
use super::hub::Hub;
use super::link::{Link, speaks_tls};
use super::message::{Answer, Ask, MAX_ASK, MAX_PERIODS, MAX_VIEWS, Read};
use super::runs::{End, Place, Runs};
use super::scatter;
use super::socket::Moved;
use super::stream::{Stream, Turn, interest};
use crate::copy::{Expected, Sum, sum_of};
use crate::handshake::{Listening, Refused};
use crate::layout::KvLayout;
use crate::lease::LeaseId;
use crate::plan::Plan;
use crate::pool::Pool;
use crate::transport::{Check, Home, Reading};

/// The side of a connection that serves.
#[derive(Debug)]
pub(super) struct Serving {
    stage: Stage,
    link: Link,
    input: Buffer,
    output: Outgoing,
    views: [Option<Known>; MAX_VIEWS],
    asked: VecDeque<(Read, Duration)>,
    sending: Option<Sending>,
    /// Segments that were asked for and then left, which is to be confirmed.
    left: Vec<u64>,
}

#[derive(Debug)]
enum Stage {
    /// It has said nothing yet.
    Silent,
    /// It has said hello, and must prove that it may.
    Welcomed(Listening),
    /// It may read what is this tenant's.
    In { tenant: Arc<str> },
}

/// From a pool of ours into one that is laid out as the peer said.
#[derive(Debug)]
struct View {
    pool: Pool,
    plan: Plan,
}

/// One that the peer has a number for, or why it cannot be had.
type Known = Result<Arc<View>, (ErrorKind, String)>;

/// A segment under way.
#[derive(Debug)]
struct Sending {
    id: u64,
    lease: LeaseId,
    pool: Pool,
    runs: Runs,
    at: Place,
}

/// What can be done for a request now.
enum Begun {
    Sends(Sending, Answer),
    Refused(Error),
    /// Blocks of it are not sealed yet.
    Parked,
}

/// How many segments a peer may ask for before it has them.
const MAX_ASKED: usize = 32;
/// How much may wait to be said to a peer that does not listen.
const MAX_OUTPUT: usize = 64 << 10;
/// How many bytes one segment may have, unless it is one period.
const MAX_SEGMENT: u64 = 16 << 20;
/// How much is given at once.
const AT_ONCE: usize = 1 << 20;

impl Serving {
    pub(super) fn new(link: Link) -> Self {
        Self {
            stage: Stage::Silent,
            link,
            input: Buffer::new(16 << 10),
            output: Outgoing::default(),
            views: [const { None }; MAX_VIEWS],
            asked: VecDeque::new(),
            sending: None,
            left: Vec::new(),
        }
    }

    /// Does what there is to do.
    pub(super) fn turn(&mut self, stream: &Arc<Stream>, hub: &Hub, budget: usize) -> Result<Turn> {
        let was_full = loop {
            while !self.is_full() && self.take_frame(stream, &hub.home)? {}
            if self.is_full() {
                break true;
            }
            match self.input.fill(|room| self.link.receive(&stream.socket, room)) {
                Ok(Moved::Bytes(_)) => {}
                Ok(Moved::Later) => break false,
                Ok(Moved::Closed) => return Ok(Turn::Closed),
                Err(error) if self.is_in() => return Err(error),
                Err(error) => return Err(self.hang_up(stream, &Refused::of(&error).encode(), error)),
            }
        };
        let mut given = 0;
        while given < budget {
            if self.sending.is_none() && !self.begin(&hub.home)? {
                hub.park(stream);
            }
            match self.send(stream, &hub.home)? {
                Some(count) => given += count,
                None if self.is_full() => return Ok(Turn::When(Interest::Write)),
                None => {
                    let has_more = self.sending.is_some() || !self.output.is_empty();
                    return interest(was_full || self.link.is_behind(has_more));
                }
            }
        }
        interest(true)
    }

    /// Whether it has so much to say that nothing more is heard.
    fn is_full(&self) -> bool {
        self.output.bytes().len() >= MAX_OUTPUT || self.left.len() >= MAX_ASKED
    }

    pub(super) const fn is_in(&self) -> bool {
        matches!(self.stage, Stage::In { .. })
    }

    /// Sends some of what there is, and says how much; `None` when there is nothing, or the peer takes nothing now.
    fn send(&mut self, stream: &Stream, home: &Home) -> Result<Option<usize>> {
        let head = self.output.bytes();
        let moved = match &self.sending {
            None if head.is_empty() => {
                self.link.flush(&stream.socket)?;
                return Ok(None);
            }
            None => self.link.send(&stream.socket, head)?,
            Some(Sending { pool, runs, at, .. }) => {
                self.link.send_from(&stream.socket, head, pool.region(), runs, *at, AT_ONCE)?
            }
        };
        let Moved::Bytes(count) = moved else { return Ok(None) };
        let of_head = count.min(head.len());
        self.output.skip(of_head);
        if let Some(sending) = &mut self.sending {
            sending.advance((count - of_head) as u64);
            if sending.runs.is_end(sending.at) {
                self.end(home);
            }
        }
        Ok(Some(count))
    }

    /// All bytes of a segment were given to the kernel, which has copied them.
    fn end(&mut self, home: &Home) {
        let Some(Sending { id, lease, runs, .. }) = self.sending.take() else { return };
        let is_held = home.holds(lease);
        self.output.frame(&Answer::Over { id, is_held }.encode());
        home.counts.served_bytes.fetch_add(runs.len(), Ordering::Relaxed);
        self.confirm();
    }

    /// Says which segments were left, unless the bytes of another are on their way: nothing may come between them.
    fn confirm(&mut self) {
        if self.sending.is_none() {
            for id in self.left.drain(..) {
                let refused = Refused { kind: ErrorKind::Unavailable, why: "it was left".into() };
                self.output.frame(&Answer::Refused { id, refused }.encode());
            }
        }
    }

    /// Begins with the first request that can be served now. Says no when there are some, and all wait for blocks to be sealed.
    fn begin(&mut self, home: &Home) -> Result<bool> {
        let mut place = 0;
        while let Some((read, until)) = self.asked.get(place) {
            match self.begun(read, *until, home)? {
                Begun::Parked => {
                    place += 1;
                    continue;
                }
                Begun::Sends(sending, answer) => {
                    self.output.frame(&answer.encode());
                    let is_empty = sending.runs.is_end(sending.at);
                    self.sending = Some(sending);
                    self.asked.remove(place);
                    if is_empty {
                        self.end(home);
                        continue;
                    }
                    return Ok(true);
                }
                Begun::Refused(error) => {
                    let refused = Refused::of(&error);
                    self.output.frame(&Answer::Refused { id: read.id, refused }.encode());
                    self.asked.remove(place);
                }
            }
        }
        Ok(self.asked.is_empty())
    }

    fn begun(&self, read: &Read, until: Duration, home: &Home) -> Result<Begun> {
        let Stage::In { tenant } = &self.stage else { return Err(malformed("a request before the handshake")) };
        let view = self.views[usize::from(read.view)].as_ref();
        let view = match view.ok_or_else(|| malformed("a request by layouts that were not said"))? {
            Ok(view) => view,
            Err((kind, why)) => return Ok(Begun::Refused(Error::new(*kind, why.clone()))),
        };
        let reading = match home.admit(tenant, read.lease, &read.capability, read.places.clone()) {
            Ok(reading) => reading,
            Err(error) => return Ok(Begun::Refused(error)),
        };
        match view.sending(read, &reading, until, home) {
            Ok(begun) => Ok(begun),
            Err(error) => Ok(Begun::Refused(error)),
        }
    }

    /// Takes a frame that is all there.
    fn take_frame(&mut self, stream: &Stream, home: &Home) -> Result<bool> {
        if matches!(self.stage, Stage::Silent) && speaks_tls(self.input.bytes()) == Some(true) {
            let error = Error::new(ErrorKind::Denied, "a peer that speaks TLS, expected one that does not");
            return Err(self.hang_up(stream, &Refused::of(&error).encode(), error));
        }
        let Some(body) = self.input.frame(MAX_ASK)? else { return Ok(false) };
        if let Stage::In { tenant } = &self.stage {
            let (ask, tenant) = (Ask::decode(body)?, Arc::clone(tenant));
            self.take(ask, &tenant, home)?;
            return Ok(true);
        }
        match std::mem::replace(&mut self.stage, Stage::Silent) {
            Stage::Silent | Stage::In { .. } => {
                match Listening::on_hello(&home.me, &home.keys, body, &self.link.binding()?) {
                    Ok((listening, welcome)) => {
                        self.output.frame(&welcome);
                        self.stage = Stage::Welcomed(listening);
                    }
                    Err((error, refused)) => return Err(self.hang_up(stream, &refused, error)),
                }
            }
            Stage::Welcomed(listening) => match listening.on_proof(body) {
                Ok((_, tenant)) => {
                    self.stage = Stage::In { tenant: tenant.into() };
                    stream.shaken();
                }
                Err(error) => {
                    home.counts.denied.fetch_add(1, Ordering::Relaxed);
                    return Err(self.hang_up(stream, &Refused::of(&error).encode(), error));
                }
            },
        }
        Ok(true)
    }

    /// Says why it is refused, if the peer listens.
    fn hang_up(&mut self, stream: &Stream, refused: &[u8], error: Error) -> Error {
        self.output.frame(refused);
        self.link.refuse(&stream.socket, self.output.bytes());
        error
    }

    fn take(&mut self, ask: Ask, tenant: &str, home: &Home) -> Result<()> {
        match ask {
            Ask::View { number, pool, from, to } => {
                let view = View::new(home, tenant, pool, &from, &to);
                let view = view.map(Arc::new).map_err(|error| (error.kind(), error.to_string()));
                self.views[usize::from(number)] = Some(view);
            }
            Ask::Read(read) => {
                if self.asked.len() >= MAX_ASKED {
                    return Err(malformed("more requests than may wait"));
                }
                let until = home.now() + read.wait;
                self.asked.push_back((read, until));
            }
            Ask::Leave { id } => {
                // One that is being sent goes on: the other side leaves its bytes.
                if let Some(place) = self.asked.iter().position(|(read, _)| read.id == id) {
                    self.asked.remove(place);
                    self.left.push(id);
                    self.confirm();
                }
            }
            // What it had no right to say is counted there.
            Ask::Note(note) => drop(home.note(note)),
        }
        Ok(())
    }
}

impl View {
    fn new(home: &Home, tenant: &str, pool: u32, from: &KvLayout, to: &KvLayout) -> Result<Self> {
        let pool = home.pool(tenant, pool)?;
        if pool.layout() != from {
            home.counts.denied.fetch_add(1, Ordering::Relaxed);
            let message = format!("the grant lays pool {} out as it is not", pool.id());
            return Err(Error::new(ErrorKind::Denied, message));
        }
        let plan = Plan::new(from, to)?;
        Ok(Self { pool, plan })
    }

    fn sending(&self, read: &Read, reading: &Reading, until: Duration, home: &Home) -> Result<Begun> {
        if reading.pool.id() != self.pool.id() {
            let message =
                format!("lease {} is of pool {}, and not of {}", read.lease, reading.pool.id(), self.pool.id());
            return Err(Error::new(ErrorKind::Denied, message));
        }
        let blocks = &reading.blocks[reading.places.clone()];
        let (each_read, each_written) = self.plan.period();
        let periods = blocks.len().div_ceil(each_read).max((read.written as usize).div_ceil(each_written));
        let bytes = self.plan.period_bytes().saturating_mul(periods as u64);
        if periods > MAX_PERIODS || (periods > 1 && bytes > MAX_SEGMENT) {
            let message = format!("a segment of {periods} periods and {bytes} bytes, expected one that is smaller");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let is_checked = read.is_checked && home.check != Check::Off;
        if is_checked && blocks.iter().any(|&block| self.pool.seals().sum(block).is_none()) {
            if home.now() < until {
                return Ok(Begun::Parked);
            }
            return Err(Error::new(ErrorKind::Unavailable, "blocks were not sealed in time"));
        }
        // Where they go is not known here, and makes no difference to what is sent.
        let written = vec![0; read.written as usize];
        let runs = Runs::new(&self.plan, blocks, &written, End::From, is_checked)?;
        let (sums, wrong) = if is_checked { self.sums(blocks, &runs)? } else { Default::default() };
        let answer = Answer::Bytes { id: read.id, len: runs.len(), sums, wrong };
        let (id, lease, pool, at) = (read.id, read.lease, self.pool.clone(), Place::default());
        Ok(Begun::Sends(Sending { id, lease, pool, runs, at }, answer))
    }

    /// What each period adds up to, and which of them are not what was sealed.
    fn sums(&self, blocks: &[u32], runs: &Runs) -> Result<(Vec<u64>, Vec<u32>)> {
        let (seals, region) = (self.pool.seals(), self.pool.region());
        if self.plan.keeps_order() {
            // The bytes are those that were sealed, in the same order: nobody has to look at them here.
            return Ok((blocks.iter().map(|&block| seals.sum(block).unwrap_or_default()).collect(), Vec::new()));
        }
        let (mut sums, mut wrong) = (Vec::with_capacity(runs.periods()), Vec::new());
        for (period, blocks) in blocks.chunks(self.plan.period().0).enumerate() {
            for &block in blocks {
                if seals.sum(block) != Some(sum_of(self.pool.own_plan(), region, block)?) {
                    wrong.push(period as u32);
                    break;
                }
            }
            let mut sum = Sum::default();
            for place in runs.period(period) {
                if let Some((offset, len)) = runs.rest(Place { run: place, offset: 0 }) {
                    scatter::add(region, offset, len, &mut sum)?;
                }
            }
            sums.push(sum.value());
        }
        Ok((sums, wrong))
    }
}

impl Sending {
    fn advance(&mut self, mut count: u64) {
        while count > 0
            && let Some((_, len)) = self.runs.rest(self.at)
        {
            let some = len.min(count);
            self.at = self.runs.after(self.at, some);
            count -= some;
        }
    }
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{what}, which nobody sends who means well"))
}
