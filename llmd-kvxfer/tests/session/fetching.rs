//! What happens at decoding engines and their agents.

use llmd_core::GroupIdx;
use llmd_kvxfer::session::Reuse;
use llmd_kvxfer::session::decode::{Action, Allocation, FailedBlock, FetchId};
use llmd_kvxfer::{Blocks, Outcome};

use crate::engine::{Cell, Fate, Job, JobState, Op};
use crate::faults::content;
use crate::lender::Key;
use crate::world::{ASK_AGAIN, Event, QUIESCENCE, World, at, name, number};

impl World {
    pub(crate) fn arrive(&mut self, decode: usize, request: usize, text: &str) {
        let (now, prompt) = (self.now, self.prompts[request]);
        let engine = &mut self.decodes[decode];
        let taken = engine.machine.arrive(at(now), &name(request), prompt, text);
        self.wake_decode(decode);
        if taken.is_err() || self.decodes[decode].jobs.contains_key(&request) {
            return;
        }
        let job = Job { state: JobState::Queued, prompt, epoch: 0, tries: 0, blocks: Vec::new(), since: now };
        self.decodes[decode].jobs.insert(request, job);
        if self.rng.chance(self.faults.forgets) {
            // It never has its turn: the machine must let go by itself.
            self.decodes[decode].jobs.entry(request).and_modify(|job| job.state = JobState::Ended);
            return;
        }
        let after = self.rng.below(400);
        self.after(after, Event::Try { decode, request });
        if self.rng.chance(self.faults.aborts) {
            let after = self.rng.below(800);
            self.after(after, Event::AbortDecode { decode, request });
        }
        for _ in 0..3 {
            if self.rng.chance(self.faults.preempts) {
                let after = self.rng.below(800);
                self.after(after, Event::Preempt { decode, request });
            }
        }
    }

    pub(crate) fn try_to_load(&mut self, decode: usize, request: usize) {
        let (shape, now) = (self.shape, self.now);
        let engine = &mut self.decodes[decode];
        let Some(job) = engine.jobs.get_mut(&request).filter(|job| job.state == JobState::Queued) else { return };
        let local = self.rng.below(u64::from(job.prompt / shape.block_tokens) + 1) as u32 * shape.block_tokens;
        let external = engine.machine.matched(&name(request), local);
        let end = local + external;
        assert!(external == 0 || end <= job.prompt, "no more comes from outside than the prompt has");
        assert!(external == 0 || !engine.in_step || (end < job.prompt && end.is_multiple_of(shape.block_tokens)));
        if external == 0 {
            engine.machine.allocated(at(now), &name(request), local, 0, Vec::new()).expect("nothing is always allowed");
            job.state = JobState::Ended;
            return self.wake_decode(decode);
        }
        let after = if self.rng.chance(300) { self.rng.below(100) } else { 0 };
        self.after(after, Event::Allocate { decode, request, local, external });
    }

    pub(crate) fn allocate(&mut self, decode: usize, request: usize, local: u32, external: u32) {
        let (shape, now, end) = (self.shape, self.now, local + external);
        let engine = &mut self.decodes[decode];
        let Some(job) = engine.jobs.get_mut(&request).filter(|job| job.state == JobState::Queued) else { return };
        let mut groups: Vec<Allocation> = Vec::new();
        for group in 0..shape.groups {
            let forgotten = if group == 0 { 0 } else { end.saturating_sub(shape.window) };
            let from_token = (forgotten - forgotten % shape.block_tokens).max(local);
            let count = (end - from_token).div_ceil(shape.block_tokens) as usize;
            let Some(blocks) = engine.pool.take(group, count) else {
                groups.iter().for_each(|taken| engine.pool.give(taken.group.0, &taken.blocks));
                job.tries += 1;
                let event = if job.tries < 20 {
                    Event::Try { decode, request }
                } else {
                    Event::AbortDecode { decode, request }
                };
                let after = self.rng.between(1, 50);
                return self.after(after, event);
            };
            groups.push(Allocation { group: GroupIdx(group), block_tokens: shape.block_tokens, from_token, blocks });
        }
        job.epoch += 1;
        for (group, block) in groups.iter().flat_map(|group| group.blocks.iter().map(|block| (group.group.0, *block))) {
            let cell = Cell { owner: (request, job.epoch), shards: vec![None; shape.shards as usize] };
            engine.memory.insert((group, block), cell);
        }
        (job.blocks, job.state, job.since) = (groups.clone(), JobState::Loading, now);
        // The offer may have gone since it was matched; or another came that has less.
        if engine.machine.allocated(at(now), &name(request), local, external, groups).is_err() {
            assert!(self.faults.told_twice > 0, "only another offer has less");
            self.free(decode, request);
            self.decodes[decode].jobs.entry(request).and_modify(|job| job.state = JobState::Queued);
            self.after(1, Event::Try { decode, request });
        }
        self.wake_decode(decode);
    }

    fn free(&mut self, decode: usize, request: usize) {
        let engine = &mut self.decodes[decode];
        let Some(job) = engine.jobs.get_mut(&request) else { return };
        for Allocation { group, blocks, .. } in std::mem::take(&mut job.blocks) {
            for block in &blocks {
                engine.memory.remove(&(group.0, *block));
            }
            engine.pool.give(group.0, &blocks);
        }
    }

    /// It was decoded to its end.
    pub(crate) fn finish(&mut self, decode: usize, request: usize) {
        let now = self.now;
        let engine = &mut self.decodes[decode];
        let Some(job) = engine.jobs.get_mut(&request).filter(|job| job.state == JobState::Running) else { return };
        job.state = JobState::Ended;
        assert_eq!(engine.machine.abort(at(now), &name(request)), Reuse::Now);
        self.free(decode, request);
        self.wake_decode(decode);
    }

    pub(crate) fn abort_decode(&mut self, decode: usize, request: usize) {
        let now = self.now;
        let engine = &mut self.decodes[decode];
        let Some(job) = engine.jobs.get_mut(&request) else { return };
        let reuse = engine.machine.abort(at(now), &name(request));
        match (job.state, reuse) {
            (JobState::Ended, Reuse::Now) => {}
            (JobState::Queued | JobState::Running | JobState::Loading, Reuse::Now) => {
                job.state = JobState::Ended;
                self.free(decode, request);
            }
            (JobState::Loading | JobState::Freeing { .. }, Reuse::Later) => {
                (job.state, job.since) = (JobState::Freeing { again: false }, now);
            }
            other => panic!("request {request} cannot be {other:?} when it is aborted"),
        }
        self.wake_decode(decode);
    }

    pub(crate) fn preempt(&mut self, decode: usize, request: usize) {
        let now = self.now;
        let engine = &mut self.decodes[decode];
        let Some(job) = engine.jobs.get_mut(&request) else { return };
        if !matches!(job.state, JobState::Loading | JobState::Running) {
            return;
        }
        let reuse = engine.machine.preempted(at(now), &name(request));
        match (job.state, reuse) {
            (JobState::Running, Reuse::Now) => {
                job.state = JobState::Ended;
                self.free(decode, request);
            }
            (JobState::Loading, Reuse::Now) => {
                job.state = JobState::Queued;
                self.free(decode, request);
                self.after(1, Event::Try { decode, request });
            }
            (JobState::Loading, Reuse::Later) => {
                (job.state, job.since) = (JobState::Freeing { again: true }, now);
            }
            other => panic!("request {request} cannot be {other:?} when it is preempted"),
        }
        self.wake_decode(decode);
    }

    pub(crate) fn poll_decode(&mut self, decode: usize) {
        let engine = &mut self.decodes[decode];
        if engine.polls_at != Some(self.now) {
            return;
        }
        engine.polls_at = None;
        let mut actions = Vec::new();
        engine.machine.poll(at(self.now), &mut actions);
        for action in actions {
            self.act_on_decode(decode, action);
        }
        if let Some(deadline) = self.decodes[decode].machine.next_deadline() {
            let time = self.overslept(deadline);
            self.poll_decode_at(decode, time);
        }
    }

    fn act_on_decode(&mut self, decode: usize, action: Action) {
        match action {
            Action::Cancel { fetch } => self.cancel(decode, fetch),
            Action::Fetch { fetch, request, part, grant, skip_tokens, blocks, within } => {
                let key = Key::from_bytes(&grant);
                assert_eq!(key.shard, part.shard);
                let skip = (skip_tokens / self.shape.block_tokens) as usize;
                self.fetch(
                    decode,
                    fetch,
                    number(&request),
                    key,
                    part.group.0,
                    skip,
                    blocks.to_vec(),
                    within.as_millis() as u64,
                );
            }
            Action::Free { request } => {
                let request = number(&request);
                let job = self.ends_in_time(decode, request);
                let JobState::Freeing { again } = job.state else { panic!("request {request} is freed as {job:?}") };
                job.state = if again { JobState::Queued } else { JobState::Ended };
                self.free(decode, request);
                if again {
                    self.after(1, Event::Try { decode, request });
                }
            }
            Action::Keep { grant, .. } => self.send(&Event::Keep { key: Key::from_bytes(&grant) }),
            Action::Loaded { request } => self.verdict(decode, number(&request), None, &[]),
            Action::Recompute { request, from_token, failed } => {
                assert!(!failed.is_empty(), "something is to be recomputed");
                self.verdict(decode, number(&request), Some(from_token), &failed);
            }
            Action::Release { grant, request, .. } => {
                self.consumers_finish(decode, number(&request), Key::from_bytes(&grant));
            }
            _ => panic!("{action:?} is unknown"),
        }
    }

    fn ends_in_time(&mut self, decode: usize, request: usize) -> &mut Job {
        let rounds = 40 * (ASK_AGAIN + QUIESCENCE + self.faults.oversleeps * 2 + self.faults.notice_delay);
        let within = self.decodes[decode].fetch_within.as_millis() as u64 + rounds;
        let now = self.now;
        let job =
            self.decodes[decode].jobs.get_mut(&request).unwrap_or_else(|| panic!("there is no request {request}"));
        assert!(now <= job.since + within, "request {request} hung for {} ms", now - job.since);
        job
    }

    /// Whatever is not said to have failed is what the prefiller computed.
    fn verdict(&mut self, decode: usize, request: usize, from_token: Option<u32>, failed: &[FailedBlock]) {
        let job = self.ends_in_time(decode, request);
        assert_eq!(job.state, JobState::Loading, "request {request} ends once");
        job.state = JobState::Running;
        let (blocks, mut first) = (job.blocks.clone(), None::<u32>);
        for Allocation { group, block_tokens, from_token, blocks } in blocks {
            for (block, token) in blocks.into_iter().zip((from_token..).step_by(block_tokens as usize)) {
                if failed.contains(&FailedBlock { group, block }) {
                    first = Some(first.map_or(token, |first| first.min(token)));
                    continue;
                }
                let cell = &self.decodes[decode].memory[&(group.0, block)];
                let expected = (0..self.shape.shards).map(|shard| Some(content(request, group.0, shard, token)));
                let expected: Vec<_> = expected.collect();
                assert_eq!(cell.shards, expected, "request {request} is served wrong content at token {token}");
            }
        }
        assert_eq!(from_token, first, "request {request} is recomputed from its first failed block");
        let after = self.rng.below(200);
        self.after(after, Event::Finish { decode, request });
    }

    fn consumers_finish(&mut self, decode: usize, request: usize, key: Key) {
        for rank in 0..self.shape.ranks {
            let consumer = (request as u64) << 20 | (decode as u64) << 10 | u64::from(rank);
            self.send(&Event::Finished { key, consumer });
        }
    }

    #[expect(clippy::too_many_arguments, reason = "as many as the action has")]
    fn fetch(
        &mut self,
        decode: usize,
        fetch: FetchId,
        request: usize,
        key: Key,
        group: u32,
        skip: usize,
        blocks: Vec<u32>,
        within: u64,
    ) {
        let job = &self.decodes[decode].jobs[&request];
        let (epoch, boot, count) = (job.epoch, self.decodes[decode].boot, blocks.len());
        for block in &blocks {
            let owner = self.decodes[decode].memory.get(&(group, *block)).map(|cell| cell.owner);
            assert_eq!(owner, Some((request, epoch)), "{fetch} is for blocks that are not its request's");
        }
        let mut fate = Fate::Ends(Outcome::Done);
        let mut ends_early = None;
        for (outcome, chance) in [
            (Outcome::Denied, self.faults.denied),
            (Outcome::Io, self.faults.io),
            (Outcome::PeerLost, self.faults.peer_lost),
            (Outcome::Corrupt, self.faults.corrupt),
        ] {
            if self.rng.chance(chance) {
                ends_early = Some(outcome);
            }
        }
        if self.rng.chance(self.faults.hangs) {
            fate = Fate::Hangs;
        }
        let pace = self.rng.between(1, 60);
        let mut last = 0;
        for index in 0..count {
            let after = self.rng.between(1, pace);
            last = last.max(after);
            self.after(after, Event::Read { decode, boot, fetch, index });
        }
        let good = Blocks::none(count);
        let op = Op { request, epoch, key, group, skip, blocks, good, left: count, fate };
        self.decodes[decode].ops.insert(fetch, op);
        if let Some(outcome) = ends_early {
            let after = self.rng.below(last + 1);
            self.after(after, Event::OpEnd { decode, boot, fetch, outcome });
        }
        self.after(within, Event::OpEnd { decode, boot, fetch, outcome: Outcome::Timeout });
    }

    pub(crate) fn read(&mut self, decode: usize, boot: u64, fetch: FetchId, index: usize) {
        let engine = &mut self.decodes[decode];
        let Some(op) = engine.ops.get_mut(&fetch).filter(|_| engine.boot == boot) else { return };
        let prefill = &self.prefills[op.key.prefill];
        let lender = &prefill.lenders[op.key.shard as usize];
        let Some((group, block)) = lender.read(self.now, op.key.lease, op.skip + index) else {
            return self.op_end(decode, boot, fetch, Outcome::Stale);
        };
        assert_eq!(group, op.group);
        let here = (group, op.blocks[index]);
        let cell = engine.memory.get_mut(&here).filter(|cell| cell.owner == (op.request, op.epoch));
        let cell =
            cell.unwrap_or_else(|| panic!("{fetch} writes into block {here:?}, which is somebody else's by now"));
        cell.shards[op.key.shard as usize] = prefill.memory.get(&(op.key.shard, group, block)).copied();
        op.good.set(index);
        op.left -= 1;
        if op.left == 0
            && let Fate::Ends(outcome) = op.fate
        {
            self.op_end(decode, boot, fetch, outcome);
        }
    }

    pub(crate) fn op_end(&mut self, decode: usize, boot: u64, fetch: FetchId, outcome: Outcome) {
        let engine = &mut self.decodes[decode];
        if engine.boot != boot {
            return;
        }
        let Some(op) = engine.ops.remove(&fetch) else { return };
        let mut good = op.good;
        if outcome == Outcome::Corrupt {
            // The checksum of one of them did not match: what was written there is wrong.
            let spoilt = self.rng.below(op.blocks.len() as u64) as usize;
            if let Some(cell) = engine.memory.get_mut(&(op.group, op.blocks[spoilt])) {
                cell.shards[op.key.shard as usize] = Some(0);
            }
            let mut rest = Blocks::none(good.len());
            for block in (0..good.len()).filter(|block| good.has(*block) && *block != spoilt) {
                rest.set(block);
            }
            good = rest;
        }
        if self.rng.chance(self.faults.misfits) {
            good = Blocks::all(good.len() + 1);
        }
        engine.ended.insert(fetch, (outcome, good));
        if outcome == Outcome::Done {
            self.consumers_finish(decode, op.request, op.key);
        }
        self.notice(&Event::Fetched { decode, fetch });
    }

    fn cancel(&mut self, decode: usize, fetch: FetchId) {
        let boot = self.decodes[decode].boot;
        if self.decodes[decode].ops.contains_key(&fetch) {
            let after = self.rng.below(QUIESCENCE + 1);
            return self.after(after, Event::OpEnd { decode, boot, fetch, outcome: Outcome::Cancelled });
        }
        self.notice(&Event::Fetched { decode, fetch });
    }

    pub(crate) fn fetched(&mut self, decode: usize, fetch: FetchId) {
        let now = self.now;
        let engine = &mut self.decodes[decode];
        let forgotten = (Outcome::Cancelled, Blocks::none(0));
        let (outcome, good) = engine.ended.get(&fetch).cloned().unwrap_or(forgotten);
        engine.machine.fetched(at(now), fetch, outcome, &good);
        self.wake_decode(decode);
    }

    pub(crate) fn restart_fetcher(&mut self, decode: usize) {
        let now = self.now;
        let engine = &mut self.decodes[decode];
        engine.boot += 1;
        engine.ops.clear();
        engine.ended.clear();
        engine.machine.restarted(at(now));
        self.wake_decode(decode);
    }
}
