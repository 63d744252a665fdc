//! What happens at prefilling engines and their agents.

use llmd_core::{ErrorKind, GroupIdx};
use llmd_kvxfer::LeaseEnd;
use llmd_kvxfer::session::prefill::{Action, Lent};
use llmd_kvxfer::session::{Part, Reuse};

use crate::faults::content;
use crate::lender::Key;
use crate::world::{Event, QUIESCENCE, World, at, name, number};

impl World {
    /// A prompt was prefilled: its blocks are written, and offered.
    pub(crate) fn compute(&mut self, prefill: usize, request: usize) {
        let (shape, prompt) = (self.shape, self.prompts[request]);
        let tokens = if self.rng.chance(150) { self.rng.between(1, prompt.into()) as u32 } else { prompt };
        let mut spans = Vec::new();
        for group in 0..shape.groups {
            let window = if self.rng.chance(self.faults.short_windows) { shape.window / 2 + 1 } else { shape.window };
            // A decoder may take full blocks only: it wants the window before the last of them.
            let last = (tokens - 1) / shape.block_tokens * shape.block_tokens;
            let from = if group == 0 { 0 } else { last.saturating_sub(window) };
            spans.push((group, from - from % shape.block_tokens));
        }
        let engine = &mut self.prefills[prefill];
        let mut held = Vec::new();
        for (group, from) in &spans {
            let count = (tokens - from).div_ceil(shape.block_tokens) as usize;
            let Some(blocks) = engine.pool.take(*group, count) else {
                held.iter().for_each(|(group, blocks): &(u32, Vec<u32>)| engine.pool.give(*group, blocks));
                return;
            };
            held.push((*group, blocks));
        }
        for ((group, from), (_, blocks)) in spans.iter().zip(&held) {
            for (shard, lender) in (0..).zip(&engine.lenders) {
                for (block, token) in blocks.iter().zip((*from..).step_by(shape.block_tokens as usize)) {
                    assert!(
                        !lender.is_lent(*group, *block),
                        "block {block} of group {group} is reused while it is lent"
                    );
                    engine.memory.insert((shard, *group, *block), content(request, *group, shard, token));
                }
            }
        }
        let parts = spans.iter().zip(&held).flat_map(|((group, from), (_, blocks))| {
            (0..shape.shards).map(|shard| Lent {
                part: Part { group: GroupIdx(*group), shard },
                from_token: *from,
                blocks: blocks.clone(),
            })
        });
        match engine.machine.computed(at(self.now), &name(request), tokens, shape.ranks, parts.collect()) {
            Ok(()) => {
                engine.held.insert(request, held);
                engine.answered.insert(request, false);
            }
            Err(error) => {
                let expected =
                    if engine.held.contains_key(&request) { ErrorKind::Invalid } else { ErrorKind::Exhausted };
                assert_eq!(error.kind(), expected, "{error}");
                held.iter().for_each(|(group, blocks)| engine.pool.give(*group, blocks));
            }
        }
        if self.rng.chance(self.faults.aborts) {
            let after = self.rng.below(600);
            self.after(after, Event::AbortPrefill { prefill, request });
        }
        self.wake_prefill(prefill);
    }

    pub(crate) fn abort_prefill(&mut self, prefill: usize, request: usize) {
        let engine = &mut self.prefills[prefill];
        let reuse = engine.machine.abort(at(self.now), &name(request));
        let expected = if engine.held.contains_key(&request) { Reuse::Later } else { Reuse::Now };
        assert_eq!(reuse, expected, "request {request} is freed once");
        self.wake_prefill(prefill);
    }

    pub(crate) fn poll_prefill(&mut self, prefill: usize) {
        let engine = &mut self.prefills[prefill];
        if engine.polls_at != Some(self.now) {
            return;
        }
        engine.polls_at = None;
        let mut actions = Vec::new();
        engine.machine.poll(at(self.now), &mut actions);
        for action in actions {
            self.act_on_prefill(prefill, action);
        }
        if let Some(deadline) = self.prefills[prefill].machine.next_deadline() {
            let time = self.overslept(deadline);
            self.poll_prefill_at(prefill, time);
        }
    }

    fn act_on_prefill(&mut self, prefill: usize, action: Action) {
        match action {
            Action::Answer { request, params } => {
                let request = number(&request);
                let before = self.prefills[prefill].answered.insert(request, true);
                assert_eq!(before, Some(false), "request {request} is answered once");
                if let Some(params) = params {
                    self.route(request, params.to_text());
                }
            }
            Action::Free { request } => {
                let request = number(&request);
                let engine = &mut self.prefills[prefill];
                let held = engine.held.remove(&request).unwrap_or_else(|| panic!("request {request} is freed twice"));
                for (group, blocks) in held {
                    let is_lent = |block: &u32| engine.lenders.iter().any(|lender| lender.is_lent(group, *block));
                    assert!(!blocks.iter().any(is_lent), "request {request} is freed while it is lent");
                    engine.pool.give(group, &blocks);
                }
            }
            Action::Grant { grant, part, blocks, ttl, consumers, .. } => {
                if self.rng.chance(self.faults.refused) {
                    return self.sure_notice(&Event::Refused { prefill, grant });
                }
                let (now, ttl) = (self.now, ttl.as_millis() as u64);
                let lender = &mut self.prefills[prefill].lenders[part.shard as usize];
                let lease = lender.grant(now, part.group.0, &blocks, ttl, consumers);
                let key = Key { prefill, shard: part.shard, lease };
                self.after(ttl, Event::Lapse { key });
                self.sure_notice(&Event::Granted { prefill, grant, lease, bytes: key.to_bytes() });
            }
            Action::Release { part, lease } => {
                let after = self.rng.below(QUIESCENCE + 1);
                self.after(after, Event::Release { key: Key { prefill, shard: part.shard, lease } });
            }
            _ => panic!("{action:?} is unknown"),
        }
    }

    /// The router hands what the prefiller answered to a decoder; some lose it, some give it to two.
    fn route(&mut self, request: usize, text: String) {
        if self.rng.chance(self.faults.lost_on_the_way) {
            return;
        }
        for _ in 0..1 + u64::from(self.rng.chance(self.faults.told_twice)) {
            let decode = self.rng.below(self.decodes.len() as u64) as usize;
            let mut text = text.clone();
            if self.rng.chance(self.faults.malformed) {
                match self.rng.below(3) {
                    0 => text.truncate(text.len() / 2),
                    1 => text.push('!'),
                    _ => text = "A".repeat(100_000),
                }
            }
            let delay = self.rng.between(1, 100);
            self.after(delay, Event::ToDecode { decode, request, text });
        }
    }

    pub(crate) fn lease_finished(&mut self, key: Key, consumer: u64) {
        if self.lender(key).finish(key.lease, consumer) {
            self.notice(&Event::Ended { prefill: key.prefill, lease: key.lease, end: LeaseEnd::Finished });
        }
    }

    pub(crate) fn release(&mut self, key: Key) {
        self.lender(key).release(key.lease);
        self.notice(&Event::Ended { prefill: key.prefill, lease: key.lease, end: LeaseEnd::Released });
    }

    pub(crate) fn lapse(&mut self, key: Key) {
        let now = self.now;
        if let Some(end) = self.lender(key).lapse(now, key.lease) {
            return self.notice(&Event::Ended { prefill: key.prefill, lease: key.lease, end });
        }
        if let Some(until) = self.lender(key).until(key.lease) {
            self.after(until - now, Event::Lapse { key });
        }
    }

    pub(crate) fn restart_lender(&mut self, prefill: usize, shard: u32) {
        let boot = self.next_boot;
        self.next_boot += 1;
        let delay = self.rng.below(self.faults.notice_delay + 1);
        let engine = &mut self.prefills[prefill];
        engine.lenders[shard as usize].restart(boot);
        let told_at = &mut engine.told_at[shard as usize];
        *told_at = (*told_at).max(self.now + delay);
        let delay = *told_at - self.now;
        self.after(delay, Event::Restarted { prefill, shard, boot });
    }
}
