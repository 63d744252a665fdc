//! Event subscriptions against a real publisher on real sockets.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

mod publisher;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use llmd_core::event::KvEvent;
use llmd_core::index::WorkerState::{self, Approximate, Exact, Recovering};
use llmd_core::index::{Applied, IndexWriter, Resident};
use llmd_core::{ErrorKind, ExternalBlockHash, GroupIdx, Medium, WorkerId};
use llmd_gateway::Clock;
use llmd_gateway::events::{EngineSaid, EventSettings, KvEventSource, Subscriptions, WorkerStatus};
use parking_lot::Mutex;
use publisher::{Form, Publisher, batch, free_source, store_event, until};
use serde_json::json;

const WORKER: WorkerId = WorkerId(3);
const MEMORY: usize = 10_000;

/// An index that only remembers which blocks were stored.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<BTreeMap<WorkerId, Known>>>);

/// The blocks of a worker, and how far they are trusted.
type Known = (BTreeSet<u64>, WorkerState);

impl IndexWriter for Recorder {
    fn apply(&mut self, worker: WorkerId, _: f64, events: &[KvEvent]) -> Applied {
        let mut workers = self.0.lock();
        let (blocks, _) = workers.entry(worker).or_default();
        for event in events {
            let KvEvent::BlockStored(stored) = event else { continue };
            for block in &stored.block_hashes {
                assert!(blocks.insert(block.as_int().unwrap()), "{block} is applied twice");
            }
        }
        Applied::default()
    }

    fn set_state(&mut self, worker: WorkerId, state: WorkerState) {
        self.0.lock().entry(worker).or_default().1 = state;
    }

    fn clear(&mut self, worker: WorkerId) {
        self.0.lock().entry(worker).or_default().0.clear();
    }

    fn remove_worker(&mut self, worker: WorkerId) {
        self.0.lock().remove(&worker);
    }

    fn residents(&self, worker: WorkerId) -> Vec<Resident> {
        let resident = |&block: &u64| Resident {
            group: GroupIdx(0),
            medium: Medium::Gpu,
            block: ExternalBlockHash::from_int(block),
            copies: 1,
        };
        self.0.lock().get(&worker).map(|(blocks, _)| blocks.iter().map(resident).collect()).unwrap_or_default()
    }
}

struct Rig {
    index: Recorder,
    subscriptions: Subscriptions,
}

impl Rig {
    fn start() -> Self {
        let mut settings = EventSettings::default();
        settings.probe_after = Duration::from_millis(200);
        settings.replay_backoff_max = Duration::from_millis(500);
        settings.disconnect_grace = Duration::from_millis(100);
        settings.silence.patience = Duration::from_millis(100);
        let index = Recorder::default();
        let subscriptions = Subscriptions::start(settings, index.clone(), Clock::start());
        Self { index, subscriptions }
    }

    fn watching(source: &KvEventSource) -> Self {
        let rig = Self::start();
        rig.subscriptions.watch(WORKER, "engine-3", source.clone()).unwrap();
        rig
    }

    fn status(&self) -> WorkerStatus {
        self.subscriptions.status().into_iter().find(|status| status.worker == WORKER).unwrap()
    }

    async fn comes_to(&self, state: WorkerState, blocks: impl IntoIterator<Item = u64>) {
        let expected = Some((blocks.into_iter().collect(), state));
        let what = format!("the index holds {expected:?}");
        until(&what, async || self.index.0.lock().get(&WORKER).cloned() == expected).await;
    }
}

#[tokio::test]
async fn who_comes_late_learns_everything_from_both_forms_of_replay() {
    for form in [Form::WithTopic, Form::WithoutTopic] {
        let source = free_source();
        let mut engine = Publisher::start(&source, MEMORY, form).await;
        for block in 0..5 {
            engine.store(block).await;
        }
        let rig = Rig::watching(&source);
        rig.comes_to(Exact, 0..5).await;
        engine.store(5).await;
        rig.comes_to(Exact, 0..6).await;
        assert_eq!((rig.status().last_seq, rig.status().applied_batches), (Some(5), 6));
    }
}

#[tokio::test]
async fn a_gap_in_the_stream_is_filled() {
    let source = free_source();
    let mut engine = Publisher::start(&source, MEMORY, Form::WithTopic).await;
    let rig = Rig::watching(&source);
    let mut block = 0;
    // A loss may be healed by a probe before the next batch shows the gap: lose until one is seen as such.
    until("a gap is noticed", async || {
        engine.lose(block);
        engine.store(block + 1).await;
        block += 2;
        rig.comes_to(Exact, 0..block).await;
        rig.status().gaps > 0
    })
    .await;
    assert_eq!(rig.status().restarts, 0);
}

#[tokio::test]
async fn a_tail_that_was_lost_is_found_by_a_probe() {
    let source = free_source();
    let mut engine = Publisher::start(&source, MEMORY, Form::WithTopic).await;
    engine.store(0).await;
    let rig = Rig::watching(&source);
    rig.comes_to(Exact, [0]).await;
    engine.lose(1);
    rig.comes_to(Exact, [0, 1]).await;
    assert_eq!((rig.status().gaps, rig.status().restarts), (0, 0));
}

#[tokio::test]
async fn an_engine_that_is_started_anew_on_the_same_ports_is_learnt_anew() {
    let source = free_source();
    let mut engine = Publisher::start(&source, MEMORY, Form::WithTopic).await;
    for block in 0..3 {
        engine.store(block).await;
    }
    let rig = Rig::watching(&source);
    rig.comes_to(Exact, 0..3).await;

    engine.kill().await;
    rig.comes_to(Recovering, 0..3).await;
    let mut engine = Publisher::start(&source, MEMORY, Form::WithTopic).await;
    for block in 100..105 {
        engine.store(block).await;
    }
    rig.comes_to(Exact, 100..105).await;

    let status = rig.status();
    let states: Vec<_> = status.timeline.iter().map(|&(_, state)| state).collect();
    assert_eq!((status.restarts, &states[..]), (1, &[Exact, Recovering, Exact][..]));
    assert!(status.timeline.is_sorted_by_key(|&(when, _)| when));
}

#[tokio::test]
async fn what_the_engine_has_forgotten_makes_a_worker_approximate_until_it_is_cleared() {
    let source = free_source();
    let mut engine = Publisher::start(&source, 2, Form::WithTopic).await;
    for block in 0..5 {
        engine.store(block).await;
    }
    let rig = Rig::watching(&source);
    rig.comes_to(Approximate, 3..5).await;
    engine.publish(batch(&[json!({"type": "AllBlocksCleared"}), store_event(9)])).await;
    rig.comes_to(Exact, [3, 4, 9]).await;
}

#[tokio::test]
async fn an_engine_that_is_not_up_yet_is_waited_for() {
    let source = free_source();
    let rig = Rig::watching(&source);
    assert_eq!((rig.status().state, rig.status().name), (Recovering, "engine-3".into()));
    let mut engine = Publisher::start(&source, MEMORY, Form::WithTopic).await;
    engine.store(7).await;
    rig.comes_to(Exact, [7]).await;
}

#[tokio::test]
async fn a_malformed_event_is_counted_and_the_others_are_applied() {
    let source = free_source();
    let mut engine = Publisher::start(&source, MEMORY, Form::WithTopic).await;
    engine
        .publish(batch(&[store_event(1), json!({"type": "BlockRemoved", "block_hashes": "x"}), store_event(2)]))
        .await;
    engine.publish(b"\xc1 no msgpack".to_vec()).await;
    engine.store(3).await;
    let rig = Rig::watching(&source);
    rig.comes_to(Approximate, 1..4).await;
    until("both are counted", async || (rig.status().event_errors, rig.status().dropped_batches) == (1, 1)).await;
}

#[tokio::test]
async fn without_replay_who_comes_late_is_approximate() {
    let source = free_source();
    let mut engine = Publisher::start(&source, MEMORY, Form::WithTopic).await;
    engine.store(0).await;
    let rig = Rig::watching(&KvEventSource { replay_endpoint: None, ..source });
    let mut block = 1;
    until("something is heard", async || {
        engine.store(block).await;
        block += 1;
        rig.status().applied_batches > 0
    })
    .await;
    assert_eq!((rig.status().state, rig.status().replays), (Approximate, 0));
}

#[tokio::test]
async fn residents_are_told_with_the_number_they_are_as_of() {
    let source = free_source();
    let mut engine = Publisher::start(&source, MEMORY, Form::WithTopic).await;
    engine.store(4).await;
    let rig = Rig::watching(&source);
    rig.comes_to(Exact, [4]).await;
    let (last_seq, residents) = rig.subscriptions.residents(WORKER).await.unwrap();
    assert_eq!((last_seq, residents.len(), residents[0].block.as_int()), (Some(0), 1, Some(4)));
    assert!(rig.subscriptions.residents(WorkerId(99)).await.is_none());
}

#[tokio::test]
async fn who_is_watched_no_longer_is_forgotten_and_can_be_watched_again() {
    let source = free_source();
    let mut engine = Publisher::start(&source, MEMORY, Form::WithTopic).await;
    engine.store(4).await;
    let rig = Rig::watching(&source);
    rig.comes_to(Exact, [4]).await;
    rig.subscriptions.unwatch(WORKER);
    until("it is forgotten", async || rig.index.0.lock().is_empty()).await;
    assert!(rig.subscriptions.status().is_empty());
    rig.subscriptions.watch(WORKER, "again", source).unwrap();
    rig.comes_to(Exact, [4]).await;
}

#[tokio::test]
async fn an_endpoint_that_is_none_is_refused_by_name() {
    let rig = Rig::start();
    let source = KvEventSource { endpoint: "localhost".into(), ..KvEventSource::default() };
    let error = rig.subscriptions.watch(WORKER, "engine-3", source).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("\"localhost\""), "{error}");
}

#[tokio::test]
async fn an_engine_that_stores_unheard_is_approximate_until_it_speaks() {
    let source = free_source();
    let mut engine = Publisher::start(&source, MEMORY, Form::WithTopic).await;
    engine.store(0).await;
    let rig = Rig::watching(&source);
    rig.comes_to(Exact, [0]).await;

    until("its silence is noticed", async || {
        rig.subscriptions.engine_said(WORKER, EngineSaid { stored: 100, gpu_blocks: None });
        rig.status().state == Approximate
    })
    .await;
    assert!(rig.status().silent);
    engine.store(1).await;
    rig.comes_to(Exact, [0, 1]).await;
    assert!(!rig.status().silent);
}

#[tokio::test]
async fn an_engine_that_counts_more_copies_than_it_has_blocks_is_never_exact() {
    let source = free_source();
    let mut engine = Publisher::start(&source, MEMORY, Form::WithTopic).await;
    engine.store(0).await;
    engine.store(1).await;
    let rig = Rig::watching(&source);
    rig.comes_to(Exact, [0, 1]).await;

    rig.subscriptions.engine_said(WORKER, EngineSaid { stored: 0, gpu_blocks: Some(1) });
    rig.comes_to(Approximate, [0, 1]).await;
    assert!(rig.status().announces_hits);
    engine.store(2).await;
    rig.comes_to(Approximate, [0, 1, 2]).await;
}

#[tokio::test]
async fn the_age_of_the_last_batch_is_told() {
    let source = free_source();
    let mut engine = Publisher::start(&source, MEMORY, Form::WithTopic).await;
    let rig = Rig::watching(&source);
    engine.store(0).await;
    until("a batch came", async || rig.status().applied_batches == 1).await;
    assert!(rig.status().lag.is_some());
}
