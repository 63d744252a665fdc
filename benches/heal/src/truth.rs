//! What each engine really said, heard past everything that is broken, and the comparison with what the index said.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use llmd_core::event::decode_batch;
use llmd_core::{Error, ErrorKind, Medium, Result};
use llmd_fleet::replay::{numbered, replay};
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::cache::{Cache, digest_of};
use crate::http;
use crate::sample::Sample;
use crate::zmq::{SILENCE, Stream};

/// Everything that one engine said, by the life in which it said it and its number.
#[derive(Debug, Default)]
struct Heard {
    life: usize,
    batches: BTreeMap<(usize, u64), Bytes>,
}

/// Listens to one engine past everything that is broken, and asks it again for what it missed.
#[derive(Debug)]
pub(crate) struct Tap {
    replay: String,
    heard: Arc<Mutex<Heard>>,
    _task: AbortOnDropHandle<()>,
}

impl Tap {
    /// Listens to the engine that publishes at `events` from now on.
    pub(crate) fn open(events: &str, replay: &str) -> Self {
        let heard = Arc::<Mutex<Heard>>::default();
        let task = listen(events.to_owned(), replay.to_owned(), Arc::clone(&heard));
        Self { replay: replay.to_owned(), heard, _task: AbortOnDropHandle::new(tokio::spawn(task)) }
    }

    /// The engine is gone, and the next one that speaks is another.
    pub(crate) fn next_life(&self) {
        self.heard.lock().life += 1;
    }

    /// Asks the engine for everything that it still knows.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub(crate) async fn fill(&self) -> Result<()> {
        let life = self.heard.lock().life;
        let batches = replay(&self.replay, 0, SILENCE).await?;
        let mut heard = self.heard.lock();
        heard.batches.extend(batches.into_iter().map(|(seq, payload)| ((life, seq), payload)));
        Ok(())
    }

    /// The stamp of the batch with this number in this life.
    pub(crate) fn stamp_of(&self, seq: u64) -> Option<u64> {
        let heard = self.heard.lock();
        heard.batches.get(&(heard.life, seq)).and_then(stamp)
    }

    /// How many batches were heard.
    pub(crate) fn batches(&self) -> usize {
        self.heard.lock().batches.len()
    }

    /// Compares all samples of this engine with what it said up to the same batch.
    pub(crate) fn judge<'a>(&self, samples: impl Iterator<Item = &'a Sample>, block_size: usize) -> Verdict {
        judge(&self.heard.lock().batches, samples, block_size)
    }
}

/// Compares samples of an engine with what it said, by life and number, up to the same batch.
fn judge<'a>(
    batches: &BTreeMap<(usize, u64), Bytes>,
    samples: impl Iterator<Item = &'a Sample>,
    block_size: usize,
) -> Verdict {
    let mut verdict = Verdict::default();
    let mut by_stamp: HashMap<Option<u64>, Vec<&Sample>> = HashMap::new();
    samples.filter(|sample| sample.said.is_some()).for_each(|it| by_stamp.entry(it.stamp).or_default().push(it));
    // As of no batch at all.
    verdict.compare(by_stamp.remove(&None), &Cache::default(), block_size);
    let mut cache = Cache::default();
    let mut next = (0, 0);
    for (&(life, seq), payload) in batches {
        if life != next.0 {
            (cache, next) = (Cache::default(), (life, 0));
        }
        if seq != next.1 {
            continue; // something was never heard: what is said from here on cannot be judged
        }
        next.1 += 1;
        let Ok(batch) = decode_batch(payload) else { continue };
        batch.events.iter().for_each(|event| cache.apply(event));
        verdict.compare(by_stamp.remove(&Some(batch.timestamp.to_bits())), &cache, block_size);
    }
    verdict.unknown = by_stamp.values().map(Vec::len).sum();
    verdict.truth = Some(cache.digest());
    verdict
}

async fn listen(events: String, replaying: String, heard: Arc<Mutex<Heard>>) {
    loop {
        if let Ok(mut stream) = Stream::connect(&events).await {
            let life = heard.lock().life;
            if let Ok(missed) = replay(&replaying, 0, SILENCE).await {
                heard.lock().batches.extend(missed.into_iter().map(|(seq, payload)| ((life, seq), payload)));
            }
            while let Some(message) = stream.next().await {
                if let Ok((seq, payload)) = numbered(&message) {
                    heard.lock().batches.insert((life, seq), payload);
                }
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn stamp(payload: &Bytes) -> Option<u64> {
    decode_batch(payload).ok().map(|batch| batch.timestamp.to_bits())
}

/// How many of the things that the index said were wrong.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Verdict {
    /// Moments at which it claimed to be exact, and which could be compared.
    pub(crate) moments: usize,
    /// Prompts that it was asked about at them.
    pub(crate) queries: usize,
    /// Those of which the engine held something.
    pub(crate) hits: usize,
    /// Moments at which what it held was not what the engine held.
    pub(crate) wrong_lists: usize,
    /// Prompts of which the engine held more or less.
    pub(crate) wrong_answers: usize,
    /// Moments as of a batch that was never heard by whoever compares.
    pub(crate) unknown: usize,
    /// What the engine held at last, as its batches say.
    pub(crate) truth: Option<u64>,
}

impl Verdict {
    fn compare(&mut self, samples: Option<Vec<&Sample>>, cache: &Cache, block_size: usize) {
        for said in samples.into_iter().flatten().filter_map(|sample| sample.said.as_ref()) {
            self.moments += 1;
            self.wrong_lists += usize::from(said.residents != cache.digest());
            self.queries += said.leading.len();
            for (prompt, leading) in &said.leading {
                let truth = cache.leading(prompt, block_size);
                self.hits += usize::from(truth > 0);
                self.wrong_answers += usize::from(*leading != truth);
            }
        }
    }

    /// Both together. The truths of two engines have nothing in common.
    pub(crate) fn add(&mut self, other: &Self) {
        self.moments += other.moments;
        self.queries += other.queries;
        self.hits += other.hits;
        self.wrong_lists += other.wrong_lists;
        self.wrong_answers += other.wrong_answers;
        self.unknown += other.unknown;
    }
}

/// What an engine's own list of its cache says, and the number that its next batch will have; `None` while events wait for
/// that batch.
///
/// # Errors
///
/// When it does not answer, or not so.
pub(crate) async fn own_list(url: &str) -> Result<Option<(u64, u64)>> {
    let view = http::ask(url, "GET", "/debug/cache", "").await?;
    let view: View = serde_json::from_str(&view)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "an engine's list of its cache").with_source(error))?;
    let blocks = view.blocks.iter().map(|block| ((block.group, Medium::Gpu, block.hash), block.copies));
    Ok((view.events_pending == 0).then(|| (view.next_seq, digest_of(blocks))))
}

#[derive(Debug, serde::Deserialize)]
struct View {
    next_seq: u64,
    events_pending: usize,
    blocks: Vec<Block>,
}

#[derive(Debug, serde::Deserialize)]
struct Block {
    hash: u64,
    group: u32,
    copies: u32,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use llmd_core::index::WorkerState;

    use super::*;
    use crate::sample::Said;

    /// The batch of this number, which stores one more block of one token after those before.
    fn batch(seq: u64) -> Bytes {
        let parent = seq.checked_sub(1).map(|parent| 100 + parent);
        let event = serde_json::json!({"type": "BlockStored", "block_hashes": [100 + seq], "parent_block_hash": parent,
                                       "token_ids": [seq], "block_size": 1, "lora_id": null, "medium": "GPU"});
        rmp_serde::to_vec_named(&serde_json::json!([seq as f64 + 0.5, [event], 0])).unwrap().into()
    }

    fn sample(seq: u64, blocks: u64, leading: u32) -> Sample {
        let residents = digest_of((0..blocks).map(|block| ((0, Medium::Gpu, 100 + block), 1)));
        let said = Said { residents, leading: vec![([0, 1, 2, 3].as_slice().into(), leading)] };
        let (at, state) = (Duration::ZERO, WorkerState::Exact);
        Sample { at, worker: 0, state, stamp: Some((seq as f64 + 0.5).to_bits()), said: Some(said) }
    }

    #[test]
    fn what_is_wrong_is_found_and_what_cannot_be_known_is_not_judged() {
        let mut batches: BTreeMap<_, _> = (0..4).map(|seq| ((0, seq), batch(seq))).collect();
        let samples = [sample(0, 1, 1), sample(1, 2, 2), sample(1, 1, 2), sample(3, 4, 3), sample(9, 0, 0)];
        let verdict = judge(&batches, samples.iter(), 1);
        assert_eq!((verdict.moments, verdict.queries, verdict.hits), (4, 4, 4));
        assert_eq!((verdict.wrong_lists, verdict.wrong_answers, verdict.unknown), (1, 1, 1));

        batches.remove(&(0, 2));
        let verdict = judge(&batches, samples.iter(), 1);
        assert_eq!(
            (verdict.wrong_lists, verdict.wrong_answers, verdict.unknown),
            (1, 0, 2),
            "as of 3 nothing is known"
        );
    }

    #[test]
    fn another_life_begins_with_nothing() {
        let batches: BTreeMap<_, _> = [((0, 0), batch(0)), ((0, 1), batch(1)), ((1, 0), batch(2))].into();
        let none = Sample { stamp: None, ..sample(0, 0, 0) };
        let verdict = judge(&batches, [none, sample(2, 0, 0)].iter(), 1);
        assert_eq!((verdict.moments, verdict.wrong_lists, verdict.wrong_answers), (2, 1, 0), "block 102 alone is held");
    }
}
