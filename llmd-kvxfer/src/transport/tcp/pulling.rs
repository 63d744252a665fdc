//! The side of a connection that reads.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use smallvec::SmallVec;

use super::super::poller::Interest;
use super::super::{Transfer, outcome_of};
use super::buffer::{Buffer, Outgoing};
use super::crossing::Crossing;
use super::hub::{Hub, News};
use super::landing::Landing;
use super::link::Link;
use super::message::{Answer, Ask, MAX_ANSWER, MAX_ASK, MAX_VIEWS, Read};
use super::pull::{Peer, Segment};
use super::rooms::{Room, Rooms};
use super::runs::{End, Place, Runs};
use super::scatter;
use super::socket::{Moved, Socket};
use super::stream::{Stream, Turn, interest};
use crate::copy::Sum;
use crate::handshake::{Connecting, Refused};
use crate::layout::KvLayout;
use crate::outcome::Outcome;
use crate::region::Region;

/// The side of a connection that reads.
#[derive(Debug)]
pub(super) struct Pulling {
    peer: Arc<Peer>,
    /// Whether it is the one on which notes go: they stay in order.
    has_notes: bool,
    /// Until the peer has answered.
    connecting: Option<Connecting>,
    link: Link,
    input: Buffer,
    output: Outgoing,
    views: Vec<View>,
    /// Which of the views is replaced next.
    oldest: usize,
    next_id: u64,
    asked: SmallVec<[Asked; CREDITS]>,
    receiving: Option<Receiving>,
    /// Segments that came, on their way into a device.
    landing: SmallVec<[Landing; CREDITS]>,
}

/// A pair of layouts that the peer knows by its place in the list.
#[derive(Debug)]
struct View {
    there: u32,
    from: KvLayout,
    here: u32,
}

/// A segment that was asked for, and for which nothing came yet.
#[derive(Debug)]
struct Asked {
    id: u64,
    /// `None` when it is no longer wanted.
    segment: Option<Segment>,
    is_checked: bool,
}

/// A segment of which the bytes come.
#[derive(Debug)]
struct Receiving {
    id: u64,
    /// `None` when it is no longer wanted.
    segment: Option<Segment>,
    is_checked: bool,
    left: u64,
    to: To,
    runs: Runs,
    at: Place,
    sums: Vec<u64>,
    sum: Sum,
    period: usize,
    wrong: SmallVec<[usize; 4]>,
}

/// Where a segment comes to.
#[derive(Debug)]
enum To {
    /// Nowhere.
    Nobody,
    Pool(Region),
    /// To a room, for its pool is in a device; and where it belongs there.
    Room(Option<Room>, Runs),
}

/// How many segments are asked for at once: so much may the peer send, and no more.
const CREDITS: usize = 4;
/// How much is taken at once: it is summed while it is in the cache.
const AT_ONCE: usize = 256 << 10;
/// How much is taken before it is known what it is.
const UNKNOWN: usize = 64 << 10;
/// How much longer than we do the peer waits for blocks to be sealed: so that it is we who say that the time is over.
const GRACE: Duration = Duration::from_secs(1);
/// How much may wait to be sent before more is added.
const MAX_OUTPUT: usize = 64 << 10;

impl Pulling {
    pub(super) fn new(peer: &Arc<Peer>, has_notes: bool, link: Link, connecting: Connecting, hello: &[u8]) -> Self {
        let mut output = Outgoing::default();
        output.frame(hello);
        Self {
            peer: Arc::clone(peer),
            has_notes,
            connecting: Some(connecting),
            link,
            input: Buffer::new(UNKNOWN.max(MAX_ANSWER + 4)),
            output,
            views: Vec::new(),
            oldest: 0,
            next_id: 0,
            asked: SmallVec::new(),
            receiving: None,
            landing: SmallVec::new(),
        }
    }

    /// Does what there is to do.
    pub(super) fn turn(&mut self, stream: &Arc<Stream>, hub: &Hub, budget: usize) -> Result<Turn> {
        self.leave(hub);
        if budget > 0 {
            self.land(hub);
        }
        self.ask(stream, hub)?;
        let (mut taken, mut has_room) = (0, true);
        // What was taken already is looked at in this turn: nothing else would say that it is there.
        while taken < budget || !self.input.bytes().is_empty() {
            let moved = if let Some(receiving) = self.receiving.as_mut().filter(|receiving| receiving.left > 0) {
                has_room = receiving.has_room(&hub.rooms);
                if !has_room {
                    break;
                }
                receiving.receive(&stream.socket, &mut self.link, &mut self.input)?
            } else if self.take_frame(stream, hub)? {
                continue;
            } else {
                self.input.fill(|room| self.link.receive(&stream.socket, room))?
            };
            match moved {
                Moved::Bytes(count) => taken += count,
                Moved::Later => break,
                Moved::Closed => return Ok(Turn::Closed),
            }
        }
        if !self.landing.is_empty() || !has_room {
            hub.park(stream);
        }
        self.ask(stream, hub)?;
        let is_behind = self.link.is_behind(!self.output.is_empty());
        if !has_room {
            return Ok(Turn::When(if is_behind { Interest::Write } else { Interest::Nothing }));
        }
        interest(is_behind || self.link.holds_some())
    }

    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// All that was asked for, now that nothing is received any more.
    pub(super) fn into_segments(self) -> impl Iterator<Item = Segment> {
        let receiving = self.receiving.and_then(|receiving| receiving.segment);
        self.asked.into_iter().filter_map(|asked| asked.segment).chain(receiving)
    }

    /// What is on its way into a device, to be gone on with by somebody else.
    pub(super) fn landing(&mut self) -> impl Iterator<Item = Landing> + use<> {
        std::mem::take(&mut self.landing).into_iter()
    }

    /// Goes on with what came and belongs into a device.
    fn land(&mut self, hub: &Hub) {
        self.landing = self.landing().filter_map(|landing| landing.go_on(&hub.ended())).collect();
    }

    /// Lets go of segments that are no longer wanted: when their bytes come, they go nowhere.
    fn leave(&mut self, hub: &Hub) {
        for asked in &mut self.asked {
            if let Some(segment) = asked.segment.take_if(|segment| segment.pull.is_stopped()) {
                self.output.frame(&Ask::Leave { id: asked.id }.encode());
                segment.end(&hub.ended());
            }
        }
        let receiving = self
            .receiving
            .as_mut()
            .and_then(|receiving| receiving.segment.take_if(|segment| segment.pull.is_stopped()));
        if let Some(segment) = receiving {
            segment.end(&hub.ended());
        }
    }

    /// Asks for as much as may be under way.
    fn ask(&mut self, stream: &Stream, hub: &Hub) -> Result<()> {
        if self.connecting.is_none() {
            while self.has_notes
                && self.output.bytes().len() < MAX_OUTPUT
                && let Some(note) = self.peer.next_note()
            {
                self.output.frame(&Ask::Note(note).encode());
            }
            while self.asked.len() + usize::from(self.receiving.is_some()) + self.landing.len() < CREDITS
                && let Some(segment) = self.peer.next()
            {
                self.ask_for(segment, hub);
            }
        }
        self.output.flush(&mut self.link, &stream.socket)?;
        Ok(())
    }

    fn ask_for(&mut self, segment: Segment, hub: &Hub) {
        let view = self.view(&segment);
        let transfer = segment.pull.transfer();
        let (grant, is_checked) = (&transfer.grant, transfer.is_checked);
        self.next_id += 1;
        let id = self.next_id;
        let read = Read {
            id,
            view,
            lease: grant.lease(),
            capability: *grant.capability(),
            places: segment.places(),
            written: segment.written_blocks().len() as u32,
            is_checked,
            wait: transfer.deadline.saturating_sub(hub.home.now()).saturating_add(GRACE),
        };
        self.output.frame(&Ask::Read(read).encode());
        self.asked.push(Asked { id, segment: Some(segment), is_checked });
    }

    /// By which number the peer knows the layouts: it is told when it does not.
    fn view(&mut self, segment: &Segment) -> u8 {
        let transfer = segment.pull.transfer();
        let (there, from, here) = (transfer.grant.pool(), transfer.grant.layout(), transfer.pool.id());
        let is_it = |view: &View| view.there == there && view.here == here && view.from == *from;
        if let Some(place) = self.views.iter().position(is_it) {
            return place as u8;
        }
        let view = View { there, from: from.clone(), here };
        let place = if self.views.len() < MAX_VIEWS {
            self.views.push(view);
            self.views.len() - 1
        } else {
            self.oldest = (self.oldest + 1) % MAX_VIEWS;
            self.views[self.oldest] = view;
            self.oldest
        };
        let (from, to) = (Box::new(from.clone()), Box::new(transfer.pool.layout().clone()));
        self.output.frame(&Ask::View { number: place as u8, pool: there, from, to }.encode());
        place as u8
    }

    /// Takes a frame that is all there.
    fn take_frame(&mut self, stream: &Stream, hub: &Hub) -> Result<bool> {
        let most = if self.connecting.is_some() { MAX_ASK } else { MAX_ANSWER };
        let Some(body) = self.input.frame(most)? else { return Ok(false) };
        if let Some(connecting) = self.connecting.take() {
            let (who, proof) = connecting.on_answer(body, &self.link.binding()?)?;
            if who.agent != self.peer.target.agent {
                let message =
                    format!("agent {} listens there, expected {}: it was restarted", who.agent, self.peer.target.agent);
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            self.output.frame(&proof);
            stream.shaken();
            hub.say(News::Ready(self.peer.target));
            self.ask(stream, hub)?;
            return Ok(true);
        }
        // A peer that does not believe the proof says so before it hangs up.
        if let Some(refused) = Refused::decode(body)? {
            return Err(refused.into_error());
        }
        match Answer::decode(body)? {
            Answer::Over { id, is_held } => {
                let receiving = self.receiving.take_if(|receiving| receiving.id == id);
                let receiving = receiving.ok_or_else(|| unasked("the end of a segment"))?;
                self.landing.extend(receiving.end(is_held, hub));
                self.ask(stream, hub)?;
            }
            other if self.receiving.is_some() => return Err(unasked(&format!("{other:?} inside of a segment"))),
            Answer::Bytes { id, len, sums, wrong } => {
                let asked = self.asked(id)?;
                // When it does not fit, its segment is among those that end with the connection.
                self.receiving.insert(Receiving::new(asked, len)).expect(sums, &wrong)?;
            }
            Answer::Refused { id, refused } => {
                if let Some(segment) = self.asked(id)?.segment {
                    segment.fail(outcome_of(refused.kind), refused.into_error().to_string(), &hub.ended());
                }
            }
        }
        Ok(true)
    }

    fn asked(&mut self, id: u64) -> Result<Asked> {
        let place = self.asked.iter().position(|asked| asked.id == id);
        place.map(|place| self.asked.remove(place)).ok_or_else(|| unasked(&format!("segment {id}")))
    }
}

impl Receiving {
    fn new(asked: Asked, len: u64) -> Self {
        let Asked { id, segment, is_checked } = asked;
        let (runs, at, sums, sum, wrong) = Default::default();
        Self { id, segment, is_checked, left: len, to: To::Nobody, runs, at, sums, sum, period: 0, wrong }
    }

    /// Takes what the peer says of it, if it is what was asked for.
    fn expect(&mut self, sums: Vec<u64>, wrong: &[u32]) -> Result<()> {
        let Some(segment) = &self.segment else { return Ok(()) };
        let are_apart = self.is_checked && !sums.is_empty();
        let Transfer { plan, pool, .. } = segment.pull.transfer();
        let runs = Runs::new(plan, segment.read_blocks(), segment.written_blocks(), End::To, are_apart)?;
        let is_right = runs.len() == self.left && sums.len() == runs.periods();
        if !is_right || wrong.iter().any(|&period| period as usize >= segment.periods.len()) {
            let message = format!(
                "segment {} of {} bytes and {} sums, expected {} and {}",
                self.id,
                self.left,
                sums.len(),
                runs.len(),
                runs.periods()
            );
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        self.wrong.extend(wrong.iter().map(|&period| period as usize));
        self.sums = sums;
        (self.runs, self.to) = match pool.engine() {
            Some(_) => (runs.flat(), To::Room(None, runs)),
            None => (runs, To::Pool(pool.region().clone())),
        };
        self.judge();
        Ok(())
    }

    /// Takes room for a segment that passes through the host. Says whether it has what it needs.
    fn has_room(&mut self, rooms: &Arc<Rooms>) -> bool {
        let To::Room(room @ None, onward) = &mut self.to else { return true };
        if self.segment.is_some() {
            *room = rooms.take(onward.len());
        }
        room.is_some() || self.segment.is_none()
    }

    /// Takes bytes to where they belong.
    fn receive(&mut self, socket: &Socket, link: &mut Link, input: &mut Buffer) -> Result<Moved> {
        let Some(region) = region(&self.to).filter(|_| self.segment.is_some()) else {
            if input.bytes().is_empty()
                && let moved @ (Moved::Later | Moved::Closed) = input.fill(|room| link.receive(socket, room))?
            {
                return Ok(moved);
            }
            let count = (input.bytes().len() as u64).min(self.left);
            input.skip(count as usize);
            self.left -= count;
            return Ok(Moved::Bytes(count as usize));
        };
        let moved = if input.bytes().is_empty() {
            link.receive_to(socket, region, &self.runs, self.at, AT_ONCE.min(self.left as usize))?
        } else {
            let (offset, len) = self.runs.rest(self.at).unwrap_or_default();
            let count = input.bytes().len().min(len as usize);
            region.write(offset as usize, &input.bytes()[..count])?;
            input.skip(count);
            Moved::Bytes(count)
        };
        if let Moved::Bytes(count) = moved {
            self.advance(count as u64)?;
        }
        Ok(moved)
    }

    /// So many bytes came to where they belong.
    fn advance(&mut self, mut count: u64) -> Result<()> {
        self.left -= count;
        while count > 0
            && let Some((offset, len)) = self.runs.rest(self.at)
        {
            let some = len.min(count);
            if let (Some(region), false) = (region(&self.to), self.sums.is_empty()) {
                scatter::add(region, offset, some, &mut self.sum)?;
            }
            self.at = self.runs.after(self.at, some);
            count -= some;
            self.judge();
        }
        Ok(())
    }

    /// Holds the periods that are all there against their sums.
    fn judge(&mut self) {
        while let Some(&right) = self.sums.get(self.period)
            && self.at.run >= self.runs.period(self.period).end
        {
            if std::mem::take(&mut self.sum).value() != right {
                self.wrong.push(self.period);
            }
            self.period += 1;
        }
    }

    /// All of it came. What belongs into a device is on its way there now.
    fn end(self, is_held: bool, hub: &Hub) -> Option<Landing> {
        let (segment, ended) = (self.segment?, hub.ended());
        if !is_held {
            segment.fail(Outcome::Stale, "the lease ended while its blocks were read".into(), &ended);
            return None;
        }
        let To::Room(Some(room), onward) = self.to else {
            segment.arrived(&self.wrong, &ended);
            return None;
        };
        let (bytes, copies) = (onward.len(), onward.copies(&self.wrong));
        let crossing = Crossing::into(&segment.pull.transfer().pool, room, &hub.rooms, bytes, copies);
        Some(Landing::new(segment, self.wrong, crossing))
    }
}

/// The memory that a segment comes to, if there is any.
const fn region(to: &To) -> Option<&Region> {
    match to {
        To::Pool(region) => Some(region),
        To::Room(Some(room), _) => Some(room.region()),
        To::Nobody | To::Room(None, _) => None,
    }
}

fn unasked(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{what}, which nobody asked for"))
}
