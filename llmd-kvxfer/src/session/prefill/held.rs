//! One request whose blocks wait to be fetched.

use std::sync::Arc;
use std::time::Duration;

use super::{Action, Counts, Settings};
use crate::session::{GrantBytes, Granted, LeaseKey, Params, Part, RequestId};

/// One request, from when it was computed until its blocks may be reused.
#[derive(Debug)]
pub(super) struct Held {
    tokens: u32,
    parts: Vec<HeldPart>,
    stage: Stage,
}

#[derive(Debug)]
struct HeldPart {
    part: Part,
    from_token: u32,
    lease: Lease,
}

#[derive(Debug)]
enum Lease {
    /// The agent was asked.
    Asked,
    /// There is none any more, or there never was.
    Ended,
    /// Peers may read.
    Held(LeaseKey, GrantBytes),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// Agents are asked; nothing was answered.
    Asking { until: Duration },
    /// The leases are being given up.
    Ending { ask_again: Duration },
    /// It was answered, and waits for its consumers.
    Lent { until: Duration },
}

impl Held {
    pub(super) fn new(
        now: Duration,
        tokens: u32,
        parts: impl Iterator<Item = (Part, u32)>,
        settings: &Settings,
    ) -> Self {
        let parts = parts.map(|(part, from_token)| HeldPart { part, from_token, lease: Lease::Asked });
        Self {
            tokens,
            parts: parts.collect(),
            stage: Stage::Asking { until: now.saturating_add(settings.hold_at_most) },
        }
    }

    pub(super) fn due(&self) -> Duration {
        match self.stage {
            Stage::Asking { until } | Stage::Lent { until } => until,
            Stage::Ending { ask_again } => ask_again,
        }
    }

    pub(super) fn leases(&self) -> impl Iterator<Item = LeaseKey> + '_ {
        self.parts.iter().filter_map(|part| if let Lease::Held(lease, _) = part.lease { Some(lease) } else { None })
    }

    pub(super) fn is_over(&self) -> bool {
        self.parts.iter().all(|part| matches!(part.lease, Lease::Ended))
    }

    pub(super) fn is_ending(&self) -> bool {
        matches!(self.stage, Stage::Ending { .. })
    }

    pub(super) fn granted(&mut self, part: Part, lease: LeaseKey, grant: GrantBytes) {
        self.set(|held| held.part == part, Lease::Held(lease, grant));
    }

    pub(super) fn refused(&mut self, part: Part) {
        self.set(|held| held.part == part, Lease::Ended);
    }

    pub(super) fn ended(&mut self, lease: LeaseKey) {
        self.set(|held| matches!(held.lease, Lease::Held(held, _) if held == lease), Lease::Ended);
    }

    fn set(&mut self, is_it: impl Fn(&HeldPart) -> bool, lease: Lease) {
        if let Some(held) = self.parts.iter_mut().find(|held| is_it(held)) {
            held.lease = lease;
        }
    }

    /// The agent of this shard runs under another boot number: leases of earlier ones have ended.
    pub(super) fn restarted(&mut self, shard: u32, boot: u64, dropped: &mut Vec<LeaseKey>) {
        for held in self.parts.iter_mut().filter(|held| held.part.shard == shard) {
            if let Lease::Held(lease, _) = held.lease
                && lease.boot != boot
            {
                held.lease = Lease::Ended;
                dropped.push(lease);
            }
        }
    }

    /// Answers, as soon as it is known what; and gives up what would be held in vain.
    pub(super) fn answer(
        &mut self,
        now: Duration,
        id: &RequestId,
        settings: &Settings,
        actions: &mut Vec<Action>,
        counts: &mut Counts,
    ) {
        let Stage::Asking { until } = self.stage else { return };
        if self.parts.iter().any(|part| matches!(part.lease, Lease::Ended)) {
            return self.answer_nothing(now, id, settings, actions, counts);
        }
        let granted = self.parts.iter().map(|held| match &held.lease {
            Lease::Held(_, grant) => {
                Some(Granted { part: held.part, from_token: held.from_token, grant: Arc::clone(grant) })
            }
            Lease::Asked | Lease::Ended => None,
        });
        let Some(granted) = granted.collect() else { return };
        match Params::new(self.tokens, settings.ttl, granted) {
            Ok(params) => {
                counts.answered += 1;
                actions.push(Action::Answer { request: id.clone(), params: Some(params) });
                self.stage = Stage::Lent { until };
            }
            Err(_) => self.answer_nothing(now, id, settings, actions, counts),
        }
    }

    /// Answers that it cannot be fetched, and gives up what was granted.
    pub(super) fn answer_nothing(
        &mut self,
        now: Duration,
        id: &RequestId,
        settings: &Settings,
        actions: &mut Vec<Action>,
        counts: &mut Counts,
    ) {
        counts.not_granted += 1;
        actions.push(Action::Answer { request: id.clone(), params: None });
        self.give_up(now, settings, actions);
    }

    /// Gives up every lease, and asks again later.
    pub(super) fn give_up(&mut self, now: Duration, settings: &Settings, actions: &mut Vec<Action>) {
        self.stage = Stage::Ending { ask_again: now.saturating_add(settings.ask_again) };
        for held in &self.parts {
            if let Lease::Held(lease, _) = held.lease {
                actions.push(Action::Release { part: held.part, lease });
            }
        }
    }

    /// Its time has come.
    pub(super) fn step(
        &mut self,
        now: Duration,
        id: &RequestId,
        settings: &Settings,
        actions: &mut Vec<Action>,
        counts: &mut Counts,
    ) {
        match self.stage {
            Stage::Asking { .. } => {
                counts.overdue += 1;
                self.answer_nothing(now, id, settings, actions, counts);
            }
            Stage::Ending { .. } => {
                counts.asked_again += self.leases().count() as u64;
                self.give_up(now, settings, actions);
            }
            Stage::Lent { .. } => {
                counts.overdue += 1;
                self.give_up(now, settings, actions);
            }
        }
    }
}
