//! A router of the simplest kind: a `Feed` that is fed from sockets, and asks for what is missing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use llmd_core::Result;
use llmd_core::feed::Feed;
use llmd_fleet::replay::{numbered, replay};
use tokio_util::task::AbortOnDropHandle;

use crate::clock::Clock;
use crate::sample::Sampler;
use crate::zmq::{SILENCE, Stream};

/// How long to wait before a broken stream is connected again, or a replay asked for again.
const PAUSE: Duration = Duration::from_millis(20);

/// Where one engine speaks.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) events: String,
    pub(crate) replay: String,
}

/// Feeds from these engines until it is dropped.
#[derive(Debug)]
pub(crate) struct Follower {
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Follower {
    /// Begins to feed.
    pub(crate) fn start(feed: &Feed, sources: &[Source], clock: Clock, sampler: &Sampler) -> Self {
        let tasks = sources.iter().map(|source| {
            let one = One { feed: feed.clone(), source: source.clone(), clock, sampler: sampler.clone() };
            AbortOnDropHandle::new(tokio::spawn(one.follow()))
        });
        Self { _tasks: tasks.collect() }
    }
}

/// One engine. Nobody else feeds it, so what is read after a batch is as of that batch.
struct One {
    feed: Feed,
    source: Source,
    clock: Clock,
    sampler: Sampler,
}

impl One {
    async fn follow(self) {
        loop {
            if let Ok(stream) = Stream::connect(&self.source.events).await {
                // What cannot be fed shows as a state that is not exact.
                _ = self.listen(stream).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn listen(&self, mut stream: Stream) -> Result<()> {
        self.feed.worker(&self.source.name)?;
        self.feed.reconnected(self.clock.now(), &self.source.name)?;
        self.sample()?;
        self.catch_up().await?;
        while let Some(message) = stream.next().await {
            let (seq, payload) = numbered(&message)?;
            self.take(seq, &payload)?;
            self.catch_up().await?;
        }
        Ok(())
    }

    /// Asks for what is missing, once. What is missing then comes with the next batch.
    async fn catch_up(&self) -> Result<()> {
        let Some(from) = self.feed.missing_from(&self.source.name)? else { return Ok(()) };
        let Ok(batches) = replay(&self.source.replay, from, SILENCE).await else { return Ok(()) };
        batches.iter().try_for_each(|(seq, payload)| self.take(*seq, payload))
    }

    fn take(&self, seq: u64, payload: &Bytes) -> Result<()> {
        self.feed.apply(self.clock.now(), &self.source.name, Some(seq), payload)?;
        self.sample()
    }

    fn sample(&self) -> Result<()> {
        let (feed, name) = (&self.feed, &self.source.name);
        let (Some(worker), state) = (feed.id(name), feed.state(name)?) else { return Ok(()) };
        // The age at second 0 is the timestamp itself, less than nothing.
        let stamp = feed.lag(name, 0.0)?.map(|lag| (-lag).to_bits());
        self.sampler.take(worker, state, stamp, feed.reader(), || feed.residents(name).unwrap_or_default());
        Ok(())
    }
}

/// The names of the workers are those of the engines, and a worker's number is its engine's place.
pub(crate) fn enlist(feed: &Feed, sources: &[Source]) -> Result<()> {
    sources.iter().try_for_each(|source| feed.worker(&source.name).map(drop))
}

/// Shared by whoever needs to look at it later.
pub(crate) type Sources = Arc<[Source]>;
