//! Which agents NIXL was told of, and at which places they were found.

use std::collections::{HashMap, HashSet};

use llmd_core::{Error, ErrorKind, Result};

use super::super::target::Target;
use super::lent::name_of;
use crate::grant::AgentId;
use crate::nixl::{self, Metadata};

/// Agents of which NIXL was told how it reaches them. That is the same wherever an agent was found, and is forgotten with the last of
/// the places where it was.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<AgentId, Told>);

#[derive(Debug, Default)]
struct Told {
    /// What NIXL has taken.
    taken: Option<Metadata>,
    /// What it takes when nothing is read from the agent any more: no part is begun until then.
    held: Option<Metadata>,
    places: HashSet<Target>,
}

impl Known {
    /// Takes what an agent said at one place: it has registered more, or is new. While it `is_read`, that may have to wait.
    pub(super) fn take(
        &mut self,
        nixl: &mut nixl::Agent,
        from: Target,
        metadata: Metadata,
        is_read: bool,
    ) -> Result<()> {
        let told = self.0.entry(from.agent).or_default();
        let taken =
            if told.taken.as_ref() == Some(&metadata) { Ok(()) } else { told.take(nixl, from.agent, &metadata) };
        match taken {
            Err(error) if error.kind() == ErrorKind::Exhausted && is_read => told.held = Some(metadata),
            Err(error) => {
                if told.places.is_empty() {
                    self.0.remove(&from.agent);
                }
                // It came from one who has proved who it is: what is wrong is that NIXL cannot reach it.
                return Err(unreachable_by_nixl(from.agent, error));
            }
            Ok(()) => {}
        }
        told.places.insert(from);
        Ok(())
    }

    /// Whether no part is to be begun of what this agent lends.
    pub(super) fn is_held(&self, agent: AgentId) -> bool {
        self.0.get(&agent).is_some_and(|told| told.held.is_some())
    }

    /// Those of which no part is begun.
    pub(super) fn held(&self) -> impl Iterator<Item = AgentId> {
        self.0.iter().filter(|(_, told)| told.held.is_some()).map(|(&agent, _)| agent)
    }

    /// Takes what had to wait until an agent was not read any more.
    pub(super) fn take_held(&mut self, nixl: &mut nixl::Agent, agent: AgentId) -> Result<()> {
        let Some(told) = self.0.get_mut(&agent) else { return Ok(()) };
        let Some(metadata) = told.held.take() else { return Ok(()) };
        told.take(nixl, agent, &metadata).map_err(|error| unreachable_by_nixl(agent, error))
    }

    /// Tells a new NIXL agent of everybody; of whom it cannot be told, and why.
    pub(super) fn tell(&self, nixl: &mut nixl::Agent) -> Vec<(AgentId, Error)> {
        let taken = self.0.iter().filter_map(|(&agent, told)| Some((agent, told.taken.as_ref()?)));
        let told = taken.map(|(agent, metadata)| (agent, nixl.add_peer(&name_of(agent), metadata)));
        told.filter_map(|(agent, told)| Some((agent, unreachable_by_nixl(agent, told.err()?)))).collect()
    }

    /// Where an agent was found.
    pub(super) fn places(&self, agent: AgentId) -> impl Iterator<Item = Target> {
        self.0.get(&agent).into_iter().flat_map(|told| &told.places).copied()
    }

    /// Everybody.
    pub(super) fn agents(&self) -> impl Iterator<Item = AgentId> {
        self.0.keys().copied()
    }

    /// Forgets that an agent was found at a place; `true` when it is found nowhere any more.
    pub(super) fn forget(&mut self, place: Target) -> bool {
        let Some(told) = self.0.get_mut(&place.agent) else { return false };
        told.places.remove(&place);
        let is_last = told.places.is_empty();
        if is_last {
            self.0.remove(&place.agent);
        }
        is_last
    }
}

impl Told {
    fn take(&mut self, nixl: &mut nixl::Agent, agent: AgentId, metadata: &Metadata) -> Result<()> {
        nixl.add_peer(&name_of(agent), metadata)?;
        self.held = None;
        self.taken = Some(metadata.clone());
        Ok(())
    }
}

fn unreachable_by_nixl(agent: AgentId, error: Error) -> Error {
    let message = format!("agent {agent} cannot be reached by NIXL: {error}");
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}
