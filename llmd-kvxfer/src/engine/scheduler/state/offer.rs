//! What a prefiller offers is taken, fetched into blocks that were allocated, or left.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::Result;

use super::State;
use crate::engine::message::Command;
use crate::engine::scheduler::fit::Layouts;
use crate::engine::scheduler::invalid;
use crate::engine::scheduler::known::{Request, Stage, Told};
use crate::grant::Grant;
use crate::session::decode::Allocation;
use crate::session::{GrantBytes, Granted, Params, Part, RequestId};

impl State {
    pub(in crate::engine::scheduler) fn arrive(
        &mut self,
        now: Duration,
        id: &RequestId,
        prompt_tokens: u32,
        text: &str,
    ) -> Result<()> {
        self.hear(now);
        if self.known.requests.contains_key(id) {
            return Err(invalid(format!("{id} is known already: expected one that is not")));
        }
        if prompt_tokens == 0 {
            self.stats.malformed += 1;
            return Err(invalid(format!("{id} has a prompt of 0 tokens: expected 1 or more")));
        }
        let params = Params::from_text(text).inspect_err(|_| self.stats.malformed += 1)?;
        let theirs = layouts(&params).inspect_err(|_| self.stats.malformed += 1)?;
        let all = || params.granted().iter().map(|granted| Arc::clone(&granted.grant)).collect::<Vec<_>>();
        let fit = match self.fits.fit(theirs, &self.layouts) {
            Ok(fit) => fit,
            Err(error) => {
                self.stats.unfitting += 1;
                self.release(now, all());
                return Err(error);
            }
        };
        let is_full = self.known.requests.len() >= self.settings.max_requests;
        if is_full || !self.is_connected() {
            let count = if is_full { &mut self.stats.refused } else { &mut self.stats.not_connected };
            *count += 1;
            self.release(now, all());
            return Ok(());
        }
        let mut commands = Vec::new();
        for needed in &fit.needed {
            let params = renumbered(&params, needed)?;
            commands.push(Command::Arrive { id: id.clone(), prompt_tokens, text: params.to_text() });
        }
        commands.iter().enumerate().for_each(|(worker, command)| self.say(now, worker, &command.encode()));
        let is_unneeded = |granted: &&Granted| fit.unneeded.contains(&granted.part.shard);
        self.release(
            now,
            params.granted().iter().filter(is_unneeded).map(|granted| Arc::clone(&granted.grant)).collect(),
        );
        self.stats.arrived += 1;
        let offered = Some(self.decode.end(params.tokens(), prompt_tokens));
        self.known.set(id, Request { stage: Stage::Waiting, offered });
        Ok(())
    }

    pub(in crate::engine::scheduler) fn matched(&self, id: &RequestId, local_tokens: u32) -> u32 {
        let waiting = self.known.requests.get(id).filter(|request| matches!(request.stage, Stage::Waiting));
        waiting.and_then(|waiting| waiting.offered).map_or(0, |end| self.decode.matched(end, local_tokens))
    }

    pub(in crate::engine::scheduler) fn allocated(
        &mut self,
        now: Duration,
        id: &RequestId,
        local_tokens: u32,
        external_tokens: u32,
        groups: Vec<Allocation>,
    ) -> Result<()> {
        self.hear(now);
        let request = self.known.requests.get(id);
        let is_waiting = request.is_some_and(|request| matches!(request.stage, Stage::Waiting));
        if external_tokens == 0 {
            if is_waiting {
                self.withdraw(now, id);
            }
            return Ok(());
        }
        let end = local_tokens.saturating_add(external_tokens);
        if let Some(request) = request {
            if !is_waiting {
                return Err(invalid(format!("{id} is being fetched or lent: expected it to wait")));
            }
            let most = request.offered.unwrap_or_default();
            if end > most {
                return Err(invalid(format!(
                    "{id} with {external_tokens} tokens behind {local_tokens}: expected at most {most} together"
                )));
            }
        }
        Allocation::check(&groups, local_tokens, end)?;
        // One that is not known any more is told of all the same: every worker says that its blocks are not here.
        let offered = request.and_then(|request| request.offered);
        let number = self.known.number();
        let command = Command::Allocated { number, id: id.clone(), local_tokens, external_tokens, groups };
        let command: Arc<[u8]> = command.encode().into();
        let told = Told::new(number, self.links.len());
        let stage = Stage::Loading { told, command: Arc::clone(&command), is_preempted: false, is_waiting: true };
        self.known.set(id, Request { stage, offered });
        self.stats.allocated += 1;
        (0..self.links.len()).for_each(|worker| self.say(now, worker, &command));
        Ok(())
    }

    /// What was offered is not wanted.
    pub(super) fn withdraw(&mut self, now: Duration, id: &RequestId) {
        if self.known.requests.get(id).is_some_and(|request| matches!(request.stage, Stage::Waiting)) {
            self.known.forget(id);
            self.say_to_all(now, &Command::Abort { id: id.clone() });
        }
    }

    /// Nobody here wants these.
    pub(super) fn release(&mut self, now: Duration, grants: Vec<GrantBytes>) {
        let Some(worker) = self.links.iter().position(|link| link.line.is_some()) else { return };
        if !grants.is_empty() {
            self.say(now, worker, &Command::Release { grants }.encode());
        }
    }
}

/// How what is offered is laid out, shard by shard.
fn layouts(params: &Params) -> Result<Layouts> {
    let mut layouts = Layouts::new();
    for Granted { part, grant, .. } in params.granted() {
        let grant = Grant::from_bytes(grant).map_err(|error| invalid(format!("{part}: {error}")))?;
        layouts.entry(part.group).or_default().push(grant.layout().clone());
    }
    Ok(layouts)
}

/// The offer of these shards alone, numbered from 0.
fn renumbered(params: &Params, shards: &[u32]) -> Result<Params> {
    let granted = params.granted().iter().filter_map(|granted| {
        let shard = shards.iter().position(|shard| *shard == granted.part.shard)? as u32;
        Some(Granted { part: Part { shard, ..granted.part }, ..granted.clone() })
    });
    Params::new(params.tokens(), params.ttl(), granted.collect())
}
