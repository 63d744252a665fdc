//! The side of a connection that serves.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::super::poller::Interest;
use super::buffer::{Buffer, Outgoing};
use super::crossing::Crossing;
use super::hub::Hub;
use super::landing::Landing;
use super::link::{Link, speaks_tls};
use super::message::{Answer, Ask, MAX_ASK, MAX_PERIODS, MAX_VIEWS, Read};
use super::rooms::{Room, Rooms};
use super::runs::{End, Place, Runs};
use super::scatter;
use super::socket::Moved;
use super::stream::{Stream, Turn, interest};
use crate::copy::{Expected, Packed, Sum, places, sum_of};
use crate::device::{DeviceCopy, MAX_BUFFER_BYTES};
use crate::handshake::{Listening, Refused};
use crate::layout::KvLayout;
use crate::lease::LeaseId;
use crate::plan::Plan;
use crate::pool::Pool;
use crate::region::Region;
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
    /// The segment that is sent next, while its blocks come from a device; or why it is not.
    coming: Option<(u64, Result<Coming>)>,
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
    way: Way,
}

/// Where blocks are sent from.
#[derive(Debug)]
enum Way {
    /// From where they lie.
    Straight(Plan),
    /// They lie in a device, and are packed in memory of the host first: what is sent is the same, in the same order.
    Packed(Box<Packed>),
}

/// One that the peer has a number for, or why it cannot be had.
type Known = Result<Arc<View>, (ErrorKind, String)>;

/// A segment under way.
#[derive(Debug)]
struct Sending {
    id: u64,
    lease: LeaseId,
    from: From,
    runs: Runs,
    at: Place,
}

/// Where the bytes of a segment are.
#[derive(Debug)]
enum From {
    Pool(Region),
    Room(Room),
}

impl From {
    const fn region(&self) -> &Region {
        match self {
            Self::Pool(region) => region,
            Self::Room(room) => room.region(),
        }
    }
}

/// A segment of which the blocks come from a device.
#[derive(Debug)]
struct Coming {
    view: Arc<View>,
    read: Read,
    is_checked: bool,
    blocks: Vec<u32>,
    crossing: Crossing,
    has_come: bool,
}

/// What can be done for a request now.
enum Begun {
    Sends(Sending, Answer),
    Comes(Coming),
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
            coming: None,
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
            if !self.begin(hub)? {
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
            Some(Sending { from, runs, at, .. }) => {
                self.link.send_from(&stream.socket, head, from.region(), runs, *at, AT_ONCE)?
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

    /// Begins with what can be sent now, and has the next come from its device meanwhile. Says no when there is something to wait
    /// for of which no connection tells.
    fn begin(&mut self, hub: &Hub) -> Result<bool> {
        let mut is_parked = false;
        let mut place = 0;
        self.come();
        loop {
            let Some((read, until)) = self.asked.get(place) else {
                // What was asked for before went first.
                if self.send_what_came(&hub.home) {
                    (place, is_parked) = (0, false);
                    continue;
                }
                break;
            };
            if !self.has_room(read) {
                place += 1;
                continue;
            }
            let (read, until, id) = (read.clone(), *until, read.id);
            match self.begun(&read, until, hub)? {
                Begun::Parked => {
                    is_parked = true;
                    place += 1;
                    continue;
                }
                Begun::Sends(sending, answer) => self.send_next(sending, &answer, &hub.home),
                Begun::Comes(coming) => {
                    self.coming = Some((id, Ok(coming)));
                    self.come();
                }
                Begun::Refused(error) if self.sending.is_some() => self.coming = Some((id, Err(error))),
                Begun::Refused(error) => self.refuse(id, &error),
            }
            self.asked.remove(place);
        }
        Ok(!self.still_comes() && (self.sending.is_some() || !is_parked))
    }

    /// Whether a request can be begun with: for what is in a device, while another is sent too; for what is not, when nothing is sent
    /// and nothing comes that was asked for before.
    fn has_room(&self, read: &Read) -> bool {
        match &self.views[usize::from(read.view)] {
            Some(Ok(view)) if matches!(view.way, Way::Packed(_)) => self.coming.is_none(),
            _ => self.sending.is_none() && self.coming.as_ref().is_none_or(|(first, _)| read.id < *first),
        }
    }

    /// Goes on with what comes from a device.
    fn come(&mut self) {
        if let Some((_, coming)) = &mut self.coming
            && let Ok(there) = coming
        {
            match there.crossing.go_on() {
                Ok(has_come) => there.has_come = has_come,
                Err(error) => *coming = Err(error),
            }
        }
    }

    fn still_comes(&self) -> bool {
        matches!(&self.coming, Some((_, Ok(coming))) if !coming.has_come)
    }

    /// Sends what came from a device, unless something else is sent. Says whether it was there.
    fn send_what_came(&mut self, home: &Home) -> bool {
        if self.sending.is_some() || self.still_comes() {
            return false;
        }
        let Some((id, coming)) = self.coming.take() else { return false };
        match coming.and_then(Coming::sending) {
            Ok((sending, answer)) => self.send_next(sending, &answer, home),
            Err(error) => self.refuse(id, &error),
        }
        true
    }

    /// What a device is still asked for, to be gone on with by somebody else: the peer has hung up.
    pub(super) fn coming(&mut self) -> Option<Landing> {
        let (_, coming) = self.coming.take()?;
        coming.ok().and_then(|coming| Landing::for_nobody(coming.crossing))
    }

    fn send_next(&mut self, sending: Sending, answer: &Answer, home: &Home) {
        self.output.frame(&answer.encode());
        let is_empty = sending.runs.is_end(sending.at);
        self.sending = Some(sending);
        if is_empty {
            self.end(home);
        }
    }

    /// Says why a segment cannot be had; never while the bytes of another are on their way.
    fn refuse(&mut self, id: u64, error: &Error) {
        self.output.frame(&Answer::Refused { id, refused: Refused::of(error) }.encode());
    }

    fn begun(&self, read: &Read, until: Duration, hub: &Hub) -> Result<Begun> {
        let Stage::In { tenant } = &self.stage else { return Err(malformed("a request before the handshake")) };
        let view = self.views[usize::from(read.view)].as_ref();
        let view = match view.ok_or_else(|| malformed("a request by layouts that were not said"))? {
            Ok(view) => view,
            Err((kind, why)) => return Ok(Begun::Refused(Error::new(*kind, why.clone()))),
        };
        let reading = match hub.home.admit(tenant, read.lease, &read.capability, read.places.clone()) {
            Ok(reading) => reading,
            Err(error) => return Ok(Begun::Refused(error)),
        };
        Ok(view.begun(read, &reading, until, hub).unwrap_or_else(Begun::Refused))
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
        let way = if pool.engine().is_some() {
            Way::Packed(Box::new(Packed::new(from, to, MAX_BUFFER_BYTES, MAX_BUFFER_BYTES)?))
        } else {
            Way::Straight(Plan::new(from, to)?)
        };
        Ok(Self { pool, way })
    }

    /// To where they belong at the other side: from where they lie, or from where they are packed.
    const fn plan(&self) -> &Plan {
        match &self.way {
            Way::Straight(plan) => plan,
            Way::Packed(packed) => &packed.scatter,
        }
    }

    fn begun(self: &Arc<Self>, read: &Read, reading: &Reading, until: Duration, hub: &Hub) -> Result<Begun> {
        if reading.pool.id() != self.pool.id() {
            let message =
                format!("lease {} is of pool {}, and not of {}", read.lease, reading.pool.id(), self.pool.id());
            return Err(Error::new(ErrorKind::Denied, message));
        }
        let blocks = &reading.blocks[reading.places.clone()];
        let (each_read, each_written) = self.plan().period();
        let periods = blocks.len().div_ceil(each_read).max((read.written as usize).div_ceil(each_written));
        let bytes = self.plan().period_bytes().saturating_mul(periods as u64);
        if periods > MAX_PERIODS || (periods > 1 && bytes > MAX_SEGMENT) {
            let message = format!("a segment of {periods} periods and {bytes} bytes, expected one that is smaller");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let is_checked = read.is_checked && hub.home.check != Check::Off;
        if is_checked && blocks.iter().any(|&block| self.pool.seals().sum(block).is_none()) {
            if hub.home.now() < until {
                return Ok(Begun::Parked);
            }
            return Err(Error::new(ErrorKind::Unavailable, "blocks were not sealed in time"));
        }
        if let Way::Packed(packed) = &self.way {
            let crossing = self.crossing(packed, blocks, &hub.rooms)?;
            let (view, read, blocks) = (Arc::clone(self), read.clone(), blocks.to_vec());
            return Ok(Begun::Comes(Coming { view, read, is_checked, blocks, crossing, has_come: false }));
        }
        let from = From::Pool(self.pool.region().clone());
        let (sending, answer) = self.sending(read, is_checked, (blocks, blocks), from)?;
        Ok(Begun::Sends(sending, answer))
    }

    /// What brings blocks out of the device.
    fn crossing(&self, packed: &Packed, blocks: &[u32], rooms: &Arc<Rooms>) -> Result<Crossing> {
        let bytes = self.pool.layout().block_bytes().saturating_mul(blocks.len() as u64);
        if bytes > packed.bytes() {
            let (count, most) = (blocks.len(), packed.bytes());
            let message = format!("{count} blocks of {bytes} bytes out of a device at once, expected at most {most}");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let into = places(blocks.len());
        let copies = packed.gather.copies(blocks, &into)?;
        let copies = copies.map(|copy| DeviceCopy { device: copy.from, host: copy.to, len: copy.len }).collect();
        Ok(Crossing::out_of(&self.pool, rooms, bytes, copies))
    }

    /// Blocks that were sealed under the one names, and lie under the others in this memory.
    fn sending(
        &self,
        read: &Read,
        is_checked: bool,
        (names, blocks): (&[u32], &[u32]),
        from: From,
    ) -> Result<(Sending, Answer)> {
        // Where they go is not known here, and makes no difference to what is sent.
        let written = vec![0; read.written as usize];
        let runs = Runs::new(self.plan(), blocks, &written, End::From, is_checked)?;
        let (sums, wrong) =
            if is_checked { self.sums((names, blocks), from.region(), &runs)? } else { Default::default() };
        let answer = Answer::Bytes { id: read.id, len: runs.len(), sums, wrong };
        Ok((Sending { id: read.id, lease: read.lease, from, runs, at: Place::default() }, answer))
    }

    /// What each period adds up to, and which of them are not what was sealed.
    fn sums(&self, (names, blocks): (&[u32], &[u32]), from: &Region, runs: &Runs) -> Result<(Vec<u64>, Vec<u32>)> {
        let seals = self.pool.seals();
        if self.plan().keeps_order() {
            // The bytes are those that were sealed, in the same order: nobody has to look at them here.
            return Ok((names.iter().map(|&block| seals.sum(block).unwrap_or_default()).collect(), Vec::new()));
        }
        let own = match &self.way {
            Way::Straight(_) => self.pool.own_plan(),
            Way::Packed(packed) => &packed.own,
        };
        let (mut sums, mut wrong) = (Vec::with_capacity(runs.periods()), Vec::new());
        let each = self.plan().period().0;
        for (period, (names, blocks)) in names.chunks(each).zip(blocks.chunks(each)).enumerate() {
            for (&name, &block) in names.iter().zip(blocks) {
                if seals.sum(name) != Some(sum_of(own, from, block)?) {
                    wrong.push(period as u32);
                    break;
                }
            }
            let mut sum = Sum::default();
            for place in runs.period(period) {
                if let Some((offset, len)) = runs.rest(Place { run: place, offset: 0 }) {
                    scatter::add(from, offset, len, &mut sum)?;
                }
            }
            sums.push(sum.value());
        }
        Ok((sums, wrong))
    }
}

impl Coming {
    /// All of it has come.
    fn sending(self) -> Result<(Sending, Answer)> {
        let Self { view, read, is_checked, blocks, crossing, .. } = self;
        view.sending(&read, is_checked, (&blocks, &places(blocks.len())), From::Room(crossing.into_room()?))
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
