//! What is lent to decoders.

use std::time::Duration;

use super::Core;
use crate::engine::message::{Groups, Notice};
use crate::engine::worker::invalid;
use crate::lease::{Lease, LeaseEnd};
use crate::session::prefill::{Action, GrantId, Lent};
use crate::session::{GrantBytes, LeaseKey, Part, RequestId};

impl Core {
    pub(super) fn computed(
        &mut self,
        now: Duration,
        number: u64,
        id: RequestId,
        tokens: u32,
        groups: Groups,
        is_full: bool,
    ) {
        let consumers = self.settings.consumers.into();
        let parts = groups.into_iter().map(|(group, from_token, blocks)| {
            let part = Part { group, shard: 0 };
            Lent { part, from_token, blocks }
        });
        let why = if is_full {
            self.stats.refused_untold += 1;
            Some("the engine does not take what has ended".to_owned())
        } else {
            self.prefill.computed(now, &id, tokens, consumers, parts.collect()).err().map(|error| error.to_string())
        };
        match why {
            Some(why) => self.notices.push(Notice::NotGranted { number, why }),
            None => drop(self.asked.insert(id, number)),
        }
    }

    pub(super) fn lend(&mut self, now: Duration, action: Action) {
        match action {
            Action::Answer { request, params: Some(params) } => {
                // One that was given up is answered to nobody.
                let Some(number) = self.asked.remove(&request) else { return };
                let grants =
                    params.granted().iter().map(|granted| (granted.part.group, GrantBytes::clone(&granted.grant)));
                self.notices.push(Notice::Granted { number, grants: grants.collect() });
                self.lent.insert(request, number);
            }
            Action::Answer { request, params: None } => {
                let Some(number) = self.asked.remove(&request) else { return };
                let why =
                    self.why.take().unwrap_or_else(|| "what was granted is too long, or was taken back".to_owned());
                self.notices.push(Notice::NotGranted { number, why });
            }
            Action::Free { request } => {
                if let Some(number) = self.lent.remove(&request) {
                    self.notices.push(Notice::Ended { number, is_waiting: false });
                    self.done.sent.push(request);
                }
            }
            Action::Grant { grant, part, blocks, ttl, consumers, .. } => {
                self.grant(now, grant, part, &blocks, ttl, consumers);
            }
            Action::Release { lease, .. } => {
                let held = self.leases.get(&lease.number);
                let is_told = held.is_some_and(|held| self.agent.release(*held).unwrap_or(false));
                if !is_told {
                    // It had ended before, and nobody reads by it.
                    self.leases.remove(&lease.number);
                    self.prefill.ended(now, lease, LeaseEnd::Released);
                }
            }
        }
    }

    fn grant(&mut self, now: Duration, grant: GrantId, part: Part, blocks: &[u32], ttl: Duration, consumers: u32) {
        let terms = Lease::new(ttl).consumers(consumers.try_into().unwrap_or(u16::MAX));
        let terms = terms.at_most(self.settings.prefill.hold_at_most);
        let granted = match self.pools.get(&part.group) {
            Some(pool) => self.agent.grant(pool, blocks, terms),
            None => Err(invalid(format!("group {} is not here", part.group.0))),
        };
        match granted {
            Ok(granted) => {
                let number = granted.lease().generation;
                self.leases.insert(number, granted.lease());
                self.prefill.granted(now, grant, LeaseKey { boot: self.boot, number }, granted.to_bytes().into());
            }
            Err(error) => {
                self.stats.refused_grants += 1;
                self.why = Some(error.to_string());
                self.prefill.refused(now, grant);
            }
        }
    }
}
