//! Both state machines of a shard, and the agent that does what they want done.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use llmd_core::{ErrorKind, GroupIdx, Result};

use super::{Done, WorkerSettings, WorkerStats};
use crate::agent::{Agent, Event, Fetch, Fetched, Kept, OpId};
use crate::engine::message::{Command, Groups, Notice};
use crate::grant::Grant;
use crate::lease::{Lease, LeaseEnd, LeaseId};
use crate::outcome::{Blocks, Outcome};
use crate::pool::Pool;
use crate::session::decode::{self, Allocation, Decode, FailedBlock, FetchId};
use crate::session::prefill::{self, GrantId, Lent, Prefill};
use crate::session::{GrantBytes, LeaseKey, Part, RequestId};

/// Both state machines of a shard, and what the agent does for them.
#[derive(Debug)]
pub(super) struct Core {
    agent: Agent,
    pools: BTreeMap<GroupIdx, Pool>,
    settings: WorkerSettings,
    boot: u64,
    prefill: Prefill,
    decode: Decode,
    /// What the scheduler asked and was not answered.
    asked: BTreeMap<RequestId, u64>,
    /// Why the agent granted nothing to one of those.
    why: Option<String>,
    /// What the scheduler told to others, and `sent` follows.
    lent: BTreeMap<RequestId, u64>,
    leases: HashMap<u64, LeaseId>,
    /// What blocks were allocated for, and `received` follows.
    loads: BTreeMap<RequestId, Load>,
    ops: HashMap<OpId, Running>,
    fetches: BTreeMap<FetchId, OpId>,
    kept: BTreeMap<(RequestId, Part), Kept>,
    /// Loads that ended lately, by their numbers: their end may have been lost on its way.
    ended: Ended,
    /// What a thread that panicked left behind.
    left: Left,
    /// What became of requests, until the scheduler was told.
    pub(super) done: Done,
    /// What the scheduler is to be told.
    pub(super) notices: Vec<Notice>,
    pub(super) stats: WorkerStats,
}

/// Blocks that were allocated.
#[derive(Debug)]
struct Load {
    number: u64,
    groups: Vec<Allocation>,
}

/// A fetch, in the agent.
#[derive(Debug)]
struct Running {
    fetch: FetchId,
    request: RequestId,
    part: Part,
    grant: Grant,
    is_cancelled: bool,
}

/// The last few numbers of many.
#[derive(Debug, Default)]
struct Ended {
    known: BTreeSet<u64>,
    order: VecDeque<u64>,
}

/// What is still under way when the machines that wanted it are gone.
#[derive(Debug, Default)]
struct Left {
    ops: HashMap<OpId, RequestId>,
    /// Which lease was whose, only the machine knew: all that was lent ends with the last of them.
    leases: BTreeSet<u64>,
    lent: BTreeMap<RequestId, u64>,
}

/// How many loads that ended are remembered.
const MAX_ENDED: usize = 4096;

impl Core {
    pub(super) fn new(agent: Agent, groups: Vec<(GroupIdx, Pool)>, settings: &WorkerSettings) -> Result<Self> {
        let bytes = agent.id().to_bytes();
        let boot = u64::from_le_bytes(std::array::from_fn(|place| bytes[place]));
        let (prefill, decode) = machines(&agent, boot, settings)?;
        Ok(Self {
            agent,
            pools: groups.into_iter().collect(),
            settings: settings.clone(),
            boot,
            prefill,
            decode,
            asked: BTreeMap::new(),
            why: None,
            lent: BTreeMap::new(),
            leases: HashMap::new(),
            loads: BTreeMap::new(),
            ops: HashMap::new(),
            fetches: BTreeMap::new(),
            kept: BTreeMap::new(),
            ended: Ended::default(),
            left: Left::default(),
            done: Done::default(),
            notices: Vec::new(),
            stats: WorkerStats::default(),
        })
    }

    pub(super) fn agent(&self) -> &Agent {
        &self.agent
    }

    pub(super) const fn max_untold(&self) -> usize {
        self.settings.max_untold
    }

    pub(super) fn pools(&self) -> &BTreeMap<GroupIdx, Pool> {
        &self.pools
    }

    /// When [`step`](Self::step) has something to do, even if nothing happens.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.prefill.next_deadline().into_iter().chain(self.decode.next_deadline()).min()
    }

    /// What the scheduler said. When nobody takes what has ended, `is_full` says so.
    pub(super) fn obey(&mut self, command: Command, is_full: bool) {
        let now = self.agent.now();
        match command {
            Command::Abort { id } => {
                // What was lent is answered: the answer left, or will not be missed.
                let _reuse = (self.prefill.abort(now, &id), self.decode.abort(now, &id));
            }
            Command::Allocated { number, id, local_tokens, external_tokens, groups } => {
                self.allocated(now, number, id, local_tokens, external_tokens, groups);
            }
            Command::Arrive { id, prompt_tokens, text } => {
                if is_full {
                    self.stats.refused_untold += 1;
                } else {
                    // It counts why it does not take one, and the blocks that are allocated then are told to be computed.
                    let _taken = self.decode.arrive(now, &id, prompt_tokens, &text);
                }
            }
            Command::Computed { number, id, tokens, groups } => self.computed(now, number, id, tokens, groups, is_full),
            Command::GiveUp { id } => {
                self.asked.remove(&id);
                self.lent.remove(&id);
                let _reuse = self.prefill.abort(now, &id);
            }
            Command::Holds { number } => {
                let is_held = self.lent.values().chain(self.left.lent.values()).any(|held| *held == number);
                if !is_held && !self.loads.values().any(|load| load.number == number) {
                    self.notices.push(Notice::Ended { number, is_waiting: false });
                }
            }
            Command::Preempted { id } => {
                let _reuse = self.decode.preempted(now, &id);
            }
            Command::Release { grants } => grants.iter().for_each(|grant| self.finish(grant)),
        }
        self.step();
    }

    fn computed(&mut self, now: Duration, number: u64, id: RequestId, tokens: u32, groups: Groups, is_full: bool) {
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

    fn allocated(
        &mut self,
        now: Duration,
        number: u64,
        id: RequestId,
        local_tokens: u32,
        external_tokens: u32,
        groups: Vec<Allocation>,
    ) {
        if external_tokens == 0 {
            // It says so twice of one that is being fetched; and what it does not know, it does not mind.
            let _released = self.decode.allocated(now, &id, local_tokens, 0, groups);
            return;
        }
        if self.ended.known.contains(&number) {
            return self.notices.push(Notice::Ended { number, is_waiting: false });
        }
        if self.loads.get(&id).is_some_and(|load| load.number == number) {
            // A scheduler that was away says again what it does not know to have been heard.
            return;
        }
        if self.loads.contains_key(&id) {
            self.stats.misunderstood += 1;
            return;
        }
        self.loads.insert(id.clone(), Load { number, groups: groups.clone() });
        if self.decode.allocated(now, &id, local_tokens, external_tokens, groups).is_err() {
            self.stats.misunderstood += 1;
            let _reuse = self.decode.abort(now, &id);
            let failed = self.all_blocks(&id);
            self.end_load(&id, failed);
        }
    }

    /// The scheduler's connection ended: what nobody was told of is given up. What is lent, and what is fetched, ends by itself.
    pub(super) fn forsake(&mut self) {
        let now = self.agent.now();
        for id in std::mem::take(&mut self.asked).into_keys() {
            self.stats.given_up += 1;
            let _reuse = self.prefill.abort(now, &id);
        }
        let waiting: Vec<_> = self.decode.waiting().cloned().collect();
        for id in waiting {
            self.stats.given_up += 1;
            let _reuse = self.decode.abort(now, &id);
        }
        self.step();
        self.notices.clear();
    }

    /// Another scheduler commands: its numbers are others.
    pub(super) fn forget_numbers(&mut self) {
        self.ended = Ended::default();
    }

    /// What the agent says, and what time it is; and whatever has to be done then.
    pub(super) fn step(&mut self) {
        let mut events = Vec::new();
        let mut actions = (Vec::new(), Vec::new());
        loop {
            let now = self.agent.now();
            // In a forked child nothing of this runs.
            let _polled = self.agent.poll(&mut events);
            let is_any = !events.is_empty();
            events.drain(..).for_each(|event| self.hear(now, event));
            self.prefill.poll(now, &mut actions.0);
            self.decode.poll(now, &mut actions.1);
            if !is_any && actions.0.is_empty() && actions.1.is_empty() {
                break;
            }
            actions.0.drain(..).for_each(|action| self.lend(now, action));
            actions.1.drain(..).for_each(|action| self.load(now, action));
        }
    }

    fn hear(&mut self, now: Duration, event: Event) {
        match event {
            Event::Fetched(fetched) => self.fetched(now, fetched),
            Event::LeaseEnded(ended) => {
                let number = ended.lease.generation;
                if self.left.leases.remove(&number) {
                    return self.settle_lent();
                }
                if self.leases.remove(&number).is_some() {
                    self.prefill.ended(now, LeaseKey { boot: self.boot, number }, ended.end);
                }
            }
            Event::Notified(_) => {}
        }
    }

    fn fetched(&mut self, now: Duration, fetched: Fetched) {
        if let Some(id) = self.left.ops.remove(&fetched.op) {
            return self.settle_load(&id);
        }
        let Some(Running { fetch, request, part, grant, .. }) = self.ops.remove(&fetched.op) else { return };
        self.fetches.remove(&fetch);
        if fetched.outcome == Outcome::Done {
            // The session takes this lease for spent.
            self.kept.remove(&(request, part));
            self.stats.unheard += u64::from(self.agent.finish(&grant).is_err());
        }
        self.decode.fetched(now, fetch, fetched.outcome, &fetched.blocks);
    }

    fn lend(&mut self, now: Duration, action: prefill::Action) {
        use prefill::Action;
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
            None => Err(super::invalid(format!("group {} is not here", part.group.0))),
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

    fn load(&mut self, now: Duration, action: decode::Action) {
        use decode::Action;
        match action {
            Action::Cancel { fetch } => self.cancel(now, fetch),
            Action::Fetch { fetch, request, part, grant, skip_tokens, blocks, within } => {
                let begun = self.begin(&request, part, &grant, skip_tokens, &blocks, within);
                match begun {
                    Ok((op, grant)) => {
                        self.fetches.insert(fetch, op);
                        self.ops.insert(op, Running { fetch, request, part, grant, is_cancelled: false });
                    }
                    Err(error) => {
                        self.stats.refused_fetches += 1;
                        let may_go_again = matches!(error.kind(), ErrorKind::Exhausted | ErrorKind::Unavailable);
                        let outcome = if may_go_again { Outcome::PeerLost } else { Outcome::Io };
                        self.decode.fetched(now, fetch, outcome, &Blocks::none(blocks.len()));
                    }
                }
            }
            Action::Keep { request, part, grant } => {
                if self.kept.contains_key(&(request.clone(), part)) {
                    // The agent goes on by itself.
                    return;
                }
                match Grant::from_bytes(&grant).and_then(|grant| self.agent.keep(&grant)) {
                    Ok(kept) => drop(self.kept.insert((request, part), kept)),
                    Err(_) => self.stats.unheard += 1,
                }
            }
            Action::Release { request, part, grant } => {
                self.kept.remove(&(request, part));
                self.finish(&grant);
            }
            Action::Free { request } | Action::Loaded { request } => self.end_load(&request, Vec::new()),
            Action::Recompute { request, failed, .. } => self.end_load(&request, failed),
        }
    }

    /// Has the agent fetch these blocks.
    fn begin(
        &self,
        request: &RequestId,
        part: Part,
        grant: &[u8],
        skip_tokens: u32,
        blocks: &[u32],
        within: Duration,
    ) -> Result<(OpId, Grant)> {
        let group = part.group;
        let pool = self.pools.get(&group).ok_or_else(|| super::invalid(format!("group {} is not here", group.0)))?;
        let whole = Grant::from_bytes(grant)?;
        let allocated = self.loads.get(request).and_then(|load| load.groups.iter().find(|there| there.group == group));
        let ours = allocated.map_or(1, |allocation| allocation.block_tokens.max(1));
        // Of the inside of blocks that their backend packs nothing is known: they hold what ours do, or they cannot be moved.
        let said = whole.layout().shape().tokens;
        let theirs = if whole.layout().is_opaque() || said <= 1 { ours } else { said };
        if !skip_tokens.is_multiple_of(theirs) {
            return Err(super::invalid(format!("{skip_tokens} tokens to be left out of blocks of {theirs}")));
        }
        let skip = (skip_tokens / theirs) as usize;
        let wanted = (blocks.len() as u64 * u64::from(ours)).div_ceil(theirs.into()) as usize;
        let end = skip.saturating_add(wanted).min(whole.blocks().len());
        let wanted = whole.part(skip..end)?;
        let op = self.agent.submit(&Fetch::new(&wanted, pool, blocks).within(within).and_hold())?;
        Ok((op, whole))
    }

    fn cancel(&mut self, now: Duration, fetch: FetchId) {
        let Some(&op) = self.fetches.get(&fetch) else {
            return self.decode.fetched(now, fetch, Outcome::Cancelled, &Blocks::none(0));
        };
        // In a forked child nothing of this runs.
        let _cancelled = self.agent.cancel(op);
        let Some(running) = self.ops.get_mut(&op) else { return };
        if !std::mem::replace(&mut running.is_cancelled, true) {
            return;
        }
        // That was a while ago: its end was heard by somebody else, if the agent does not know it.
        match self.agent.wait(op, Duration::ZERO) {
            Ok(fetched) => self.fetched(now, fetched),
            Err(error) if error.kind() == ErrorKind::Invalid => {
                self.ops.remove(&op);
                self.fetches.remove(&fetch);
                self.decode.fetched(now, fetch, Outcome::Cancelled, &Blocks::none(0));
            }
            Err(_) => {}
        }
    }

    fn finish(&mut self, grant: &[u8]) {
        let told = Grant::from_bytes(grant).and_then(|grant| self.agent.finish(&grant));
        self.stats.unheard += u64::from(told.is_err());
    }

    /// Nothing is written into these blocks any more.
    fn end_load(&mut self, id: &RequestId, failed: Vec<FailedBlock>) {
        let Some(Load { number, .. }) = self.loads.remove(id) else { return };
        let is_waiting = self.decode.is_waiting(id);
        if !is_waiting {
            let kept = self.kept.keys().filter(|(request, _)| request == id).cloned().collect::<Vec<_>>();
            kept.iter().for_each(|key| drop(self.kept.remove(key)));
        }
        self.ended.add(number);
        self.notices.push(Notice::Ended { number, is_waiting });
        if !failed.is_empty() {
            self.done.failed.push((id.clone(), failed));
        }
        self.done.received.push(id.clone());
    }

    fn all_blocks(&self, id: &RequestId) -> Vec<FailedBlock> {
        let groups = self.loads.get(id).into_iter().flat_map(|load| &load.groups);
        groups.flat_map(|group| group.blocks.iter().map(|&block| FailedBlock { group: group.group, block })).collect()
    }

    /// What counts for its owner.
    pub(super) fn counted(&self) -> WorkerStats {
        WorkerStats {
            prefill: self.prefill.counts().clone(),
            decode: self.decode.counts().clone(),
            lending: self.prefill.len(),
            loading: self.loads.len(),
            ..self.stats.clone()
        }
    }
}

impl Core {
    /// Something in here panicked: nobody knows what the machines hold, so they are made anew, and all that was under way is given up.
    /// It is told as soon as the agent reads and writes nothing of it any more.
    pub(super) fn recover(&mut self) {
        self.stats.panics += 1;
        if let Ok((prefill, decode)) = machines(&self.agent, self.boot, &self.settings) {
            (self.prefill, self.decode) = (prefill, decode);
        }
        self.kept.clear();
        self.fetches.clear();
        self.asked.clear();
        for (op, running) in std::mem::take(&mut self.ops) {
            // In a forked child nothing of this runs.
            let _cancelled = self.agent.cancel(op);
            self.left.ops.insert(op, running.request);
        }
        for id in self.loads.keys().cloned().collect::<Vec<_>>() {
            self.settle_load(&id);
        }
        for (number, lease) in std::mem::take(&mut self.leases) {
            if self.agent.release(lease).unwrap_or(false) {
                self.left.leases.insert(number);
            }
        }
        self.left.lent.append(&mut self.lent);
        self.settle_lent();
    }

    /// Tells of a load that was left behind, when nothing writes into it any more.
    fn settle_load(&mut self, id: &RequestId) {
        if self.left.ops.values().any(|left| left == id) {
            return;
        }
        let failed = self.all_blocks(id);
        self.end_load(id, failed);
    }

    /// Tells of all that was lent and left behind, when nobody reads any of it any more.
    fn settle_lent(&mut self) {
        if !self.left.leases.is_empty() {
            return;
        }
        for (id, number) in std::mem::take(&mut self.left.lent) {
            self.notices.push(Notice::Ended { number, is_waiting: false });
            self.done.sent.push(id);
        }
    }
}

impl Ended {
    fn add(&mut self, number: u64) {
        if self.order.len() >= MAX_ENDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(number);
        self.order.push_back(number);
    }
}

fn machines(agent: &Agent, boot: u64, settings: &WorkerSettings) -> Result<(Prefill, Decode)> {
    let (mut prefill, decode) = (Prefill::new(settings.prefill.clone())?, Decode::new(settings.decode.clone())?);
    prefill.restarted(agent.now(), 0, boot);
    Ok((prefill, decode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::KvLayout;
    use crate::region::Region;
    use crate::transport::Local;

    fn core(here: &Local) -> (Core, Pool) {
        let agent = Agent::builder("worker").transport(here.clone()).build().unwrap();
        let layout = KvLayout::opaque("bytes", 8, 4096).unwrap();
        let pool = agent.register(Region::memfd(8 * 4096).unwrap(), layout).unwrap();
        let core = Core::new(agent, vec![(GroupIdx(0), pool.clone())], &WorkerSettings::default()).unwrap();
        (core, pool)
    }

    fn granted(core: &mut Core, id: &RequestId, blocks: &[u32]) -> GrantBytes {
        let groups = vec![(GroupIdx(0), 0, blocks.to_vec())];
        core.obey(Command::Computed { number: 1, id: id.clone(), tokens: 16, groups }, false);
        match core.notices.pop() {
            Some(Notice::Granted { number: 1, grants }) => GrantBytes::clone(&grants[0].1),
            other => panic!("{other:?}, expected what was granted"),
        }
    }

    fn until_done(core: &mut Core, ends: usize) {
        while core.done.len() < ends {
            core.step();
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_was_under_way_when_it_panicked_ends_once() {
        let here = Local::default();
        let ((mut prefill, _), (mut decode, _)) = (core(&here), core(&here));
        let id = RequestId::new("cmpl-7").unwrap();
        let grant = granted(&mut prefill, &id, &[3]);
        let part = Part { group: GroupIdx(0), shard: 0 };
        let offered = vec![crate::session::Granted { part, from_token: 0, grant }];
        let params = crate::session::Params::new(16, Duration::from_secs(30), offered).unwrap();
        decode.obey(Command::Arrive { id: id.clone(), prompt_tokens: 16, text: params.to_text() }, false);
        let groups = vec![Allocation { group: GroupIdx(0), block_tokens: 16, from_token: 0, blocks: vec![5] }];
        // As it is when a panic comes between the two: the end of the fetch is heard by nobody.
        let now = decode.agent.now();
        decode.loads.insert(id.clone(), Load { number: 2, groups: groups.clone() });
        decode.decode.allocated(now, &id, 0, 16, groups.clone()).unwrap();
        decode.recover();
        until_done(&mut decode, 1);
        let failed = vec![FailedBlock { group: GroupIdx(0), block: 5 }];
        assert_eq!(decode.done.failed, [(id.clone(), failed)]);
        // A scheduler that says it again is told of the same end.
        decode.notices.clear();
        let again = Command::Allocated { number: 2, id: id.clone(), local_tokens: 0, external_tokens: 16, groups };
        decode.obey(again, false);
        assert_eq!(decode.notices, [Notice::Ended { number: 2, is_waiting: false }]);

        prefill.recover();
        until_done(&mut prefill, 1);
        assert_eq!((&prefill.done.sent[..], prefill.agent.stats().leases), (&[id.clone()][..], 0));
        granted(&mut prefill, &id, &[3]);
        assert_eq!((decode.done.received.len(), decode.stats.panics, prefill.stats.panics), (1, 1, 1));
    }

    #[test]
    fn nothing_new_is_taken_while_nobody_takes_what_has_ended() {
        let (mut core, _pool) = core(&Local::default());
        let id = RequestId::new("cmpl-7").unwrap();
        let groups = vec![(GroupIdx(0), 0, vec![3])];
        core.obey(Command::Computed { number: 1, id, tokens: 16, groups }, true);
        let why = "the engine does not take what has ended".to_owned();
        assert_eq!(core.notices, [Notice::NotGranted { number: 1, why }]);
        assert_eq!(core.stats.refused_untold, 1);
    }

    #[test]
    fn what_was_given_up_is_told_to_nobody() {
        let (mut core, _pool) = core(&Local::default());
        let id = RequestId::new("cmpl-7").unwrap();
        granted(&mut core, &id, &[3]);
        core.obey(Command::GiveUp { id: id.clone() }, false);
        while core.agent.stats().leases > 0 || !core.prefill.is_empty() {
            core.step();
        }
        assert_eq!((core.done.len(), &core.notices[..]), (0, &[][..]));
        core.obey(Command::Holds { number: 1 }, false);
        assert_eq!(core.notices, [Notice::Ended { number: 1, is_waiting: false }]);
    }
}
