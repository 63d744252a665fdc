//! What a feed is told about an engine from elsewhere than its stream, and how old what it knows is.

use std::time::Duration;

use super::Feed;
use super::worker::Worker;
use crate::Result;
use crate::event::Doubts;

impl Feed {
    /// The engine of a worker stored at least `blocks` more blocks since this was last told, as something else than its
    /// stream says: its counters, or requests that completed. When the stream says nothing of them within
    /// [`FeedSettings::silence`](super::FeedSettings::silence), the worker is approximate from the next telling on, and until
    /// a batch comes; see [`Silence`](crate::event::Silence).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when nobody has heard of the worker, or when it is followed by a
    /// live stream.
    pub fn stored(&self, now: Duration, worker: &str, blocks: u64) -> Result<()> {
        self.doubt(now, worker, |doubts| doubts.stored(now, blocks))
    }

    /// GPU memory of the worker's engine has so many blocks. An engine of which more copies are counted announces hits
    /// too, as vLLM does when a request has `kv_cache_report_mode: full`; it is never exact.
    ///
    /// # Errors
    ///
    /// As [`stored`](Self::stored).
    pub fn set_gpu_blocks(&self, now: Duration, worker: &str, blocks: u64) -> Result<()> {
        self.doubt(now, worker, |doubts| doubts.set_gpu_blocks(blocks))
    }

    /// The worker's engine announces hits too, since requests ask it to: it is never exact from now on.
    ///
    /// # Errors
    ///
    /// As [`stored`](Self::stored).
    pub fn set_announces_hits(&self, now: Duration, worker: &str) -> Result<()> {
        self.doubt(now, worker, Doubts::set_announces_hits)
    }

    /// How old the newest batch of a worker is that entered the index, in seconds, when the engine's clock says `now` in
    /// seconds, as vLLM's does since 1970; `None` when there is none since all was forgotten. Less than nothing, when the
    /// two clocks differ.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when nobody has heard of the worker.
    pub fn lag(&self, worker: &str, now: f64) -> Result<Option<f64>> {
        let writing = self.0.writing.wait();
        let id = self.known(worker)?;
        Ok(writing.workers.get(&id).and_then(Worker::newest).map(|newest| now - newest))
    }

    fn doubt(&self, now: Duration, worker: &str, what: impl FnOnce(&mut Doubts)) -> Result<()> {
        let mut writing = self.0.writing.wait();
        let id = self.known(worker)?;
        let (index, known) = writing.unfollowed(id, worker)?;
        known.doubt(now, index, what);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{payload, settings};
    use super::*;
    use crate::event::KvEvent;
    use crate::index::WorkerState::{self, Approximate, Exact};
    use crate::testing::stored;

    const fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn tell(feed: &Feed, seq: u64, events: &[KvEvent]) -> WorkerState {
        feed.apply(at(seq), "a", Some(seq), &payload(1000.0 + seq as f64, events)).unwrap().state
    }

    #[test]
    fn an_engine_that_stores_unheard_is_approximate_until_it_speaks() {
        let feed = Feed::new(settings()).unwrap();
        assert_eq!(tell(&feed, 0, &[]), Exact);
        for second in [1, 2, 6] {
            feed.stored(at(second), "a", 100).unwrap();
            assert_eq!(feed.state("a").unwrap(), Exact, "at {second}");
        }
        feed.stored(at(7), "a", 0).unwrap();
        assert_eq!(feed.state("a").unwrap(), Approximate);
        assert_eq!(tell(&feed, 1, &[]), Exact, "the stream is without gaps, and speaks");
    }

    #[test]
    fn an_engine_that_counts_more_copies_than_it_has_blocks_is_never_exact() {
        let feed = Feed::new(settings()).unwrap();
        let store = || KvEvent::BlockStored(stored(None, [1], &[1, 2]));
        assert_eq!(tell(&feed, 0, &[store(), store()]), Exact);
        feed.set_gpu_blocks(at(0), "a", 2).unwrap();
        assert_eq!(feed.state("a").unwrap(), Exact);
        assert_eq!(tell(&feed, 1, &[store()]), Approximate);
        assert_eq!(tell(&feed, 2, &[KvEvent::AllBlocksCleared]), Approximate);
    }

    #[test]
    fn an_engine_that_is_asked_to_announce_hits_is_never_exact() {
        let feed = Feed::new(settings()).unwrap();
        assert_eq!(tell(&feed, 0, &[]), Exact);
        feed.set_announces_hits(at(0), "a").unwrap();
        assert_eq!(feed.state("a").unwrap(), Approximate);
        assert!(feed.set_announces_hits(at(0), "b").is_err());
    }

    #[test]
    fn the_lag_is_the_age_of_the_newest_batch() {
        let feed = Feed::new(settings()).unwrap();
        feed.worker("a").unwrap();
        assert_eq!(feed.lag("a", 1003.5).unwrap(), None);
        tell(&feed, 0, &[]);
        tell(&feed, 1, &[]);
        assert_eq!(feed.lag("a", 1003.5).unwrap(), Some(2.5));
        let again = Feed::restore(settings(), &feed.snapshot()).unwrap();
        assert_eq!(again.lag("a", 1003.5).unwrap(), Some(2.5));
        assert!(feed.lag("b", 0.0).is_err());
    }
}
