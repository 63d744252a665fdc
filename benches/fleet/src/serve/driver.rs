//! The thread that steps the engine: engine time on the wall clock, commands between steps.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use llmd_core::TokenId;
use llmd_core::hash::Sha256Cbor;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::kv::Kv;
use super::metrics::Counts;
use super::publish::Publisher;
use crate::model::{Engine, Expected, NewRequest, Output, RequestId, StepReport};

/// Commands that may wait for the end of a step.
pub(super) const MAX_COMMANDS: usize = 32_768;
/// How far the schedule may lag before the lost time is given up: a machine that hung computes nothing meanwhile.
const MAX_LAG: Duration = Duration::from_millis(250);

/// What the sockets ask of the engine.
#[derive(Debug)]
pub(super) enum Command {
    Abort(u64),
    Arrived { expected: Box<Expected>, good: usize },
    Cache(oneshot::Sender<CacheView>),
    Expect { request: NewRequest, most: usize, taken: oneshot::Sender<Option<Expected>> },
    LetGo(RequestId),
    Pause(Duration),
    Reset { running_too: bool, done: oneshot::Sender<bool> },
    Submit(Submission),
}

/// A request, and where its tokens go.
#[derive(Debug)]
pub(super) struct Submission {
    /// The name that an abort uses; never used twice.
    pub(super) key: u64,
    /// When it came in, in engine time.
    pub(super) arrived: Duration,
    pub(super) request: NewRequest,
    /// Has room for every token, so that the engine never waits for a client.
    pub(super) tokens: mpsc::Sender<Produced>,
    /// Where it is said what another engine is lent, when that decodes the request; before its last token.
    pub(super) lent: Option<oneshot::Sender<Value>>,
}

/// One token on its way to a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Produced {
    pub(super) token: TokenId,
    pub(super) cached_tokens: usize,
    pub(super) last: bool,
}

/// The true cache, and where the event stream stood when it was looked at.
#[derive(Debug, Serialize)]
pub(super) struct CacheView {
    /// Batches with smaller numbers, and the pending events, lead to exactly these blocks.
    pub(super) next_seq: u64,
    pub(super) blocks: Vec<CachedBlock>,
    /// Events that go out with the next batch.
    pub(super) events_pending: usize,
}

/// One name in the cache.
#[derive(Debug, Serialize)]
pub(super) struct CachedBlock {
    hash: u64,
    group: u32,
    copies: usize,
}

#[derive(Debug)]
pub(super) struct Driver {
    engine: Engine,
    clock: Clock,
    /// The engine time up to which steps have been computed. Follows from step times alone while there is work, so that
    /// errors of sleeping do not add up.
    now: Duration,
    paused_until: Duration,
    commands: Receiver<Command>,
    publisher: Publisher,
    counts: Arc<Mutex<Counts>>,
    /// The bytes of its blocks, where it has any.
    kv: Option<Arc<Kv>>,
    streams: HashMap<RequestId, Stream>,
    ids: HashMap<u64, RequestId>,
}

#[derive(Debug)]
struct Stream {
    key: u64,
    tokens: mpsc::Sender<Produced>,
    lent: Option<oneshot::Sender<Value>>,
}

impl Driver {
    pub(super) fn new(
        engine: Engine,
        clock: Clock,
        commands: Receiver<Command>,
        publisher: Publisher,
        counts: Arc<Mutex<Counts>>,
        kv: Option<Arc<Kv>>,
    ) -> Self {
        let (now, paused_until) = (Duration::ZERO, Duration::ZERO);
        let (streams, ids) = (HashMap::new(), HashMap::new());
        Self { engine, clock, now, paused_until, commands, publisher, counts, kv, streams, ids }
    }

    /// Steps until every sender of commands is gone.
    pub(super) fn run(mut self) {
        let mut report = StepReport::default();
        while self.take_commands() {
            if self.paused_until > self.clock.now() {
                if !self.wait_for_command(Some(self.paused_until)) {
                    return;
                }
                self.now = self.now.max(self.paused_until.min(self.clock.now()));
                continue;
            }
            if let Some(takes) = self.engine.begin_step(self.now) {
                self.step(takes, &mut report);
                continue;
            }
            let next = self.engine.next_arrival();
            if let Some(arrival) = next.filter(|&arrival| arrival <= self.clock.now()) {
                self.now = self.now.max(arrival);
            } else if !self.wait_for_command(next) {
                return;
            }
        }
    }

    /// Lets the time of a step pass, then hands out what it made: events and figures first, tokens after, so that a client that has
    /// its answer finds them there.
    fn step(&mut self, takes: Duration, report: &mut StepReport) {
        self.now += takes;
        std::thread::sleep(self.clock.until(self.now));
        let late = self.clock.now().saturating_sub(self.now);
        if late > self.clock.engine_time(MAX_LAG) {
            self.now += late;
        }
        self.engine.end_step(self.now, report);
        if let Some(kv) = &self.kv {
            kv.write(&self.engine.take_filled());
        }
        self.publish_events();
        self.count(|counts| counts.step(self.now, report));
        let mut aborted = 0;
        for output in &report.outputs {
            aborted += u64::from(!self.deliver(output));
        }
        self.count(|counts| counts.aborted(aborted));
    }

    /// Counts something, and takes over what the engine is doing now.
    fn count(&self, what: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.lock();
        what(&mut counts);
        counts.look(&self.engine);
    }

    fn publish_events(&mut self) {
        let events = self.engine.take_events();
        if !events.is_empty() {
            self.publisher.publish(&events);
        }
    }

    /// Sends a token to its client. A client that is gone loses its request: says whether that was not so.
    fn deliver(&mut self, output: &Output) -> bool {
        if output.finish.is_some() {
            self.lend(output.request);
        }
        let Some(stream) = self.streams.get(&output.request) else { return true };
        let (token, cached_tokens, last) = (output.token, output.cached_tokens, output.finish.is_some());
        let there = stream.tokens.try_send(Produced { token, cached_tokens, last }).is_ok();
        if last || !there {
            self.forget(output.request);
        }
        there || last || !self.engine.abort(output.request)
    }

    /// Lends what a request leaves behind to the engine that decodes it. What nobody waits for is let go.
    fn lend(&mut self, id: RequestId) {
        let Some(kept) = self.engine.kept(id) else { return };
        let waits = self.streams.get_mut(&id).and_then(|stream| stream.lent.take());
        let tokens = kept.full * self.engine.settings().block_size;
        let lent = self.kv.as_ref().zip(waits).filter(|_| kept.full > 0).and_then(|(kv, waits)| {
            let lent = kv.lend(id, &kept.blocks[..kept.full], tokens);
            lent.inspect_err(|error| tracing::warn!(%error, "a prompt was computed in vain"))
                .ok()
                .map(|lent| (waits, lent))
        });
        match lent {
            // A client that left does not fetch: the lease ends by itself.
            Some((waits, lent)) => _ = waits.send(lent),
            None => _ = self.engine.let_go(id),
        }
    }

    fn forget(&mut self, id: RequestId) {
        if let Some(stream) = self.streams.remove(&id) {
            self.ids.remove(&stream.key);
        }
    }

    /// Obeys the commands that have come. Says whether more may come.
    fn take_commands(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Sleeps until a command comes, and obeys it, or until `deadline`. Says whether more may come.
    fn wait_for_command(&mut self, deadline: Option<Duration>) -> bool {
        let received = match deadline {
            Some(deadline) => self.commands.recv_timeout(self.clock.until(deadline)),
            None => self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(command) => self.obey(command),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Abort(key) => self.abort(key),
            Command::Arrived { expected, good } => self.engine.arrived(*expected, good),
            // Whoever asked may have gone away meanwhile.
            Command::Cache(asked) => _ = asked.send(self.view()),
            Command::Expect { request, most, taken } => {
                if let Err(Some(expected)) = taken.send(self.engine.expect(request, most)) {
                    self.engine.arrived(expected, 0);
                }
            }
            Command::LetGo(request) => _ = self.engine.let_go(request),
            Command::Pause(wall) => self.paused_until = self.clock.now() + self.clock.engine_time(wall),
            Command::Reset { running_too, done } => {
                if running_too {
                    self.engine.preempt_all();
                }
                _ = done.send(self.engine.reset_prefix_cache());
            }
            Command::Submit(submission) => self.submit(submission),
        }
        self.counts.lock().look(&self.engine);
    }

    fn submit(&mut self, submission: Submission) {
        let Submission { key, arrived, request, tokens, lent } = submission;
        match self.engine.submit(arrived, request) {
            Ok(id) => {
                self.streams.insert(id, Stream { key, tokens, lent });
                self.ids.insert(key, id);
            }
            // The sender is dropped, which the client sees as the end of its answer.
            Err(error) => {
                self.counts.lock().rejected();
                tracing::warn!(%error, "a request was refused");
            }
        }
    }

    fn abort(&mut self, key: u64) {
        let Some(&id) = self.ids.get(&key) else { return };
        self.forget(id);
        if self.engine.abort(id) {
            self.counts.lock().aborted(1);
        }
    }

    fn view(&self) -> CacheView {
        let pool = self.engine.pool();
        let block = |(digest, copies)| CachedBlock { hash: Sha256Cbor::event_int(digest), group: 0, copies };
        CacheView {
            next_seq: self.publisher.next_seq(),
            blocks: pool.cached().map(block).collect(),
            events_pending: pool.pending_events(),
        }
    }
}
