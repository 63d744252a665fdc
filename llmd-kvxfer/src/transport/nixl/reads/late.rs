//! What NIXL does not end: peers are given up, and in the end NIXL's own agent.

use std::collections::HashSet;
use std::time::Duration;

use llmd_core::{Error, ErrorKind};

use super::Reads;
use super::chunk::{Chunk, InFlight, Stage, What};
use crate::grant::AgentId;
use crate::transport::target::Target;

/// How long one read may take: its peer is lost then.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// How long one that nobody wants may keep its slot when no other is free: a new NIXL agent is made then.
const ABANDONED_LIMIT: Duration = Duration::from_secs(1);

impl Reads {
    /// Gives up peers that do not answer a read.
    pub(super) fn give_up(&mut self, now: Duration) {
        let late = self
            .in_flight
            .values()
            .filter(|read| matches!(read.what, What::Chunk(_)) && now.saturating_sub(read.since) >= READ_LIMIT);
        let late: HashSet<Target> = late.map(|read| read.of.0).collect();
        for peer in late {
            let message = format!("agent {peer} did not answer a read in {READ_LIMIT:?}");
            self.failed.push((peer, Error::new(ErrorKind::Unavailable, message)));
        }
    }

    /// Takes newer metadata of peers of which nothing is in flight any more; and makes a new NIXL agent when too many slots are lost
    /// to the one that is there.
    pub(super) fn renew(&mut self, now: Duration) {
        let idle: Vec<AgentId> = self.known.held().filter(|&agent| !self.is_reading(agent)).collect();
        for agent in idle {
            if let Err(error) = self.slots.agent().and_then(|nixl| self.known.take_held(nixl, agent)) {
                self.fail(agent, &error);
            }
        }
        let is_wanted = |read: &InFlight| matches!(read.what, What::Chunk(_));
        let limit = if self.slots.is_none_free() { ABANDONED_LIMIT } else { READ_LIMIT };
        let is_stuck = |read: &InFlight| !is_wanted(read) && now.saturating_sub(read.since) >= limit;
        let is_time = self.slots.is_short() || self.in_flight.values().any(is_stuck);
        self.slots.drain(is_time);
        let is_again = |chunk: &Chunk| matches!(chunk.stage, Stage::Again(_));
        if !is_time || self.in_flight.values().any(is_wanted) || self.chunks.values().any(is_again) {
            return;
        }
        // What is in flight ends with its agent, and writes to slots that are none any more.
        self.slots.renew();
        self.in_flight.clear();
        match self.slots.agent() {
            Ok(nixl) => self.known.tell(nixl).iter().for_each(|(agent, error)| self.fail(*agent, error)),
            Err(error) => {
                let agents: Vec<AgentId> = self.known.agents().collect();
                agents.into_iter().for_each(|agent| self.fail(agent, &error));
            }
        }
    }

    /// NIXL cannot reach an agent, wherever that was found.
    fn fail(&mut self, agent: AgentId, error: &Error) {
        let said = |place| (place, Error::new(error.kind(), error.to_string()));
        self.failed.extend(self.known.places(agent).map(said));
    }
}
