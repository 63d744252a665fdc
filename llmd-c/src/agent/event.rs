//! What happened to operations and leases.
#![expect(unsafe_code, reason = "what C hands over is written through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use llmd_kvxfer::{Event, Fetched, LeaseEnd, LeaseEnded, OpId, Outcome};

use super::llmd_agent;
use crate::boundary::{boundary, delivered, given, invalid};
use crate::error::llmd_error;
use crate::quiet::quietly;
use crate::sized::{Sizes, answer};
use crate::status::llmd_status;
use crate::string::terminated;

/// What an event tells of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub enum llmd_agent_event_kind {
    /// An operation ended.
    LLMD_FETCHED = 0,
    /// A lease ended: its blocks may be used again.
    LLMD_LEASE_ENDED = 1,
}

/// How an operation ended. Each ends exactly once, in one of these.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub enum llmd_outcome {
    /// Every block is where it was to go, as it was sent.
    LLMD_OUTCOME_DONE = 0,
    /// Its caller took it back.
    LLMD_OUTCOME_CANCELLED = 1,
    /// What arrived is not what was granted: compute it again.
    LLMD_OUTCOME_CORRUPT = 2,
    /// The other side refused.
    LLMD_OUTCOME_DENIED = 3,
    /// This machine failed: a socket, a mapping, a device.
    LLMD_OUTCOME_IO = 4,
    /// The other side is gone.
    LLMD_OUTCOME_PEER_LOST = 5,
    /// The lease ended before all was read: compute it again.
    LLMD_OUTCOME_STALE = 6,
    /// Its time was over.
    LLMD_OUTCOME_TIMEOUT = 7,
}

/// How a lease ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub enum llmd_lease_end {
    /// All consumers have what they need.
    LLMD_LEASE_FINISHED = 0,
    /// Its time was over.
    LLMD_LEASE_LAPSED = 1,
    /// It was taken back.
    LLMD_LEASE_RELEASED = 2,
}

use llmd_outcome::{
    LLMD_OUTCOME_CANCELLED, LLMD_OUTCOME_CORRUPT, LLMD_OUTCOME_DENIED, LLMD_OUTCOME_DONE, LLMD_OUTCOME_IO,
    LLMD_OUTCOME_PEER_LOST, LLMD_OUTCOME_STALE, LLMD_OUTCOME_TIMEOUT,
};

impl From<Outcome> for llmd_outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => LLMD_OUTCOME_DONE,
            Outcome::Cancelled => LLMD_OUTCOME_CANCELLED,
            Outcome::Corrupt => LLMD_OUTCOME_CORRUPT,
            Outcome::Denied => LLMD_OUTCOME_DENIED,
            Outcome::PeerLost => LLMD_OUTCOME_PEER_LOST,
            Outcome::Stale => LLMD_OUTCOME_STALE,
            Outcome::Timeout => LLMD_OUTCOME_TIMEOUT,
            // The enum is non-exhaustive; a test walks `Outcome::ALL`.
            _ => LLMD_OUTCOME_IO,
        }
    }
}

impl From<LeaseEnd> for llmd_lease_end {
    fn from(end: LeaseEnd) -> Self {
        match end {
            LeaseEnd::Finished => Self::LLMD_LEASE_FINISHED,
            LeaseEnd::Released => Self::LLMD_LEASE_RELEASED,
            // As above: a test walks `LeaseEnd::ALL`.
            _ => Self::LLMD_LEASE_LAPSED,
        }
    }
}

/// The name of an outcome: `done`, `cancelled`, ..., and `unknown` for a number that is none. Lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_outcome_name(outcome: c_int) -> *const c_char {
    let names: [&CStr; Outcome::ALL.len()] =
        [c"done", c"cancelled", c"corrupt", c"denied", c"io", c"peer_lost", c"stale", c"timeout"];
    usize::try_from(outcome).ok().and_then(|place| names.get(place).copied()).unwrap_or(c"unknown").as_ptr()
}

/// What happened, in the order in which it did. May be read by several threads at once.
#[derive(Debug)]
pub struct llmd_agent_events(Vec<Told>);

#[derive(Debug)]
enum Told {
    Fetched { fetched: Fetched, failed: Vec<usize>, transport: CString, why: Option<CString> },
    LeaseEnded(LeaseEnded),
}

impl Told {
    fn new(event: Event) -> Option<Self> {
        match event {
            Event::Fetched(fetched) => Some(Self::fetched(fetched)),
            Event::LeaseEnded(ended) => Some(Self::LeaseEnded(ended)),
            // Of what this header does not know.
            _ => None,
        }
    }

    fn fetched(fetched: Fetched) -> Self {
        let (failed, transport) = (fetched.blocks.failed().collect(), terminated(fetched.transport));
        let why = fetched.why.clone().map(terminated);
        Self::Fetched { fetched, failed, transport, why }
    }
}

/// Something that happened to an operation, or to a lease. Fields of the other are 0 or NULL.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_agent_event {
    /// sizeof(llmd_agent_event).
    pub struct_size: usize,
    /// What it tells of.
    pub kind: llmd_agent_event_kind,
    /// How the operation ended.
    pub outcome: llmd_outcome,
    /// How the lease ended.
    pub end: llmd_lease_end,
    /// The operation.
    pub op: u64,
    /// How many blocks were to be fetched into.
    pub blocks: usize,
    /// The places, in the list of blocks, of those that hold nothing that can be relied on.
    pub failed: *const usize,
    /// How many there are.
    pub failed_len: usize,
    /// How many bytes were brought.
    pub bytes: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// By which transport.
    pub transport: *const c_char,
    /// What happened, where the outcome alone does not say it; else NULL.
    pub why: *const c_char,
    /// The lease, as llmd_grant has it.
    pub lease_generation: u64,
    /// The lease's place.
    pub lease_slot: u32,
    /// The pool that its blocks are of.
    pub pool: u32,
    /// Those of its blocks that no other lease holds.
    pub free: *const u32,
    /// How many there are.
    pub free_len: usize,
}

impl Sizes for llmd_agent_event {
    const NAME: &'static str = "llmd_agent_event";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

impl llmd_agent_event {
    fn nothing(struct_size: usize) -> Self {
        Self {
            struct_size,
            kind: llmd_agent_event_kind::LLMD_FETCHED,
            outcome: LLMD_OUTCOME_DONE,
            end: llmd_lease_end::LLMD_LEASE_FINISHED,
            op: 0,
            blocks: 0,
            failed: ptr::null(),
            failed_len: 0,
            bytes: 0,
            took_us: 0,
            transport: ptr::null(),
            why: ptr::null(),
            lease_generation: 0,
            lease_slot: 0,
            pool: 0,
            free: ptr::null(),
            free_len: 0,
        }
    }
}

/// Puts at `events` what happened since: operations that ended and leases that did, at most 1,024 at a time; NULL when nothing did.
/// Does not wait.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_agent_poll(
    agent: Option<&llmd_agent>,
    events: Option<&mut MaybeUninit<Option<Box<llmd_agent_events>>>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let slot = given(events, "events")?.write(None);
        let mut events = Vec::new();
        given(agent, "agent")?.0.poll(&mut events)?;
        if !events.is_empty() {
            *slot = Some(Box::new(llmd_agent_events(events.into_iter().filter_map(Told::new).collect())));
        }
        Ok(())
    })
}

/// Waits for one operation to end, for at most `timeout_ms`, copies meanwhile, and puts at `events` how it did: one event, which
/// llmd_agent_poll does not tell of again. LLMD_UNAVAILABLE when it takes longer; LLMD_INVALID when there is no such operation, or its
/// end was polled already.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_agent_wait(
    agent: Option<&llmd_agent>,
    op: u64,
    timeout_ms: u64,
    events: Option<&mut MaybeUninit<Option<Box<llmd_agent_events>>>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    delivered(events, "events", error, || {
        let agent = &given(agent, "agent")?.0;
        let fetched = agent.wait(OpId::from_number(op), Duration::from_millis(timeout_ms))?;
        Ok(llmd_agent_events(vec![Told::fetched(fetched)]))
    })
}

/// How many events there are. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_agent_events_len(events: Option<&llmd_agent_events>) -> usize {
    events.map_or(0, |events| events.0.len())
}

/// Tells about the event at `place`, counted from 0. Its pointers live as long as `events`. Set `event->struct_size` before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_agent_events_get(
    events: Option<&llmd_agent_events>,
    place: usize,
    event: *mut llmd_agent_event,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let events = &given(events, "events")?.0;
        let told = events
            .get(place)
            .ok_or_else(|| invalid(format!("event {place} is not there, expected one below {}", events.len())))?;
        // SAFETY: as llmd.h says.
        unsafe { answer(event, |struct_size| Ok(tell(told, struct_size))) }
    })
}

fn tell(told: &Told, struct_size: usize) -> llmd_agent_event {
    let nothing = llmd_agent_event::nothing(struct_size);
    match told {
        Told::Fetched { fetched, failed, transport, why } => llmd_agent_event {
            kind: llmd_agent_event_kind::LLMD_FETCHED,
            op: fetched.op.number(),
            outcome: fetched.outcome.into(),
            blocks: fetched.blocks.len(),
            failed: if failed.is_empty() { ptr::null() } else { failed.as_ptr() },
            failed_len: failed.len(),
            bytes: fetched.bytes,
            took_us: fetched.took.as_micros().try_into().unwrap_or(u64::MAX),
            transport: transport.as_ptr(),
            why: why.as_ref().map_or(ptr::null(), |why| why.as_ptr()),
            ..nothing
        },
        Told::LeaseEnded(LeaseEnded { lease, end, pool, free, .. }) => llmd_agent_event {
            kind: llmd_agent_event_kind::LLMD_LEASE_ENDED,
            end: (*end).into(),
            lease_generation: lease.generation,
            lease_slot: lease.slot,
            pool: *pool,
            free: if free.is_empty() { ptr::null() } else { free.as_ptr() },
            free_len: free.len(),
            ..nothing
        },
    }
}

/// Frees events. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_agent_events_free(events: Option<Box<llmd_agent_events>>) {
    quietly((), || drop(events));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_outcome_has_a_number_of_its_own_with_its_name() {
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            let number = llmd_outcome::from(outcome) as c_int;
            assert_eq!(number, place as c_int, "`llmd_agent_counts.ended` has them in this order");
            // SAFETY: the names are literals.
            assert_eq!(unsafe { CStr::from_ptr(llmd_outcome_name(number)) }.to_str(), Ok(outcome.as_str()));
        }
        // SAFETY: as above.
        assert_eq!(unsafe { CStr::from_ptr(llmd_outcome_name(-1)) }, c"unknown");
    }

    #[test]
    fn every_end_of_a_lease_has_a_number_of_its_own() {
        let numbers: HashSet<_> = LeaseEnd::ALL.map(|end| llmd_lease_end::from(end) as c_int).into();

        assert_eq!(numbers, (0..3).collect());
    }
}
