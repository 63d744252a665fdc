//! Cached prefixes: approximate, precise and expected.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use llmd_core::event::KvEvent;
use llmd_core::hash::{BlockHasher, Chain};
use llmd_core::index::{
    ExactIndex, ExactReader, ExactWriter, Explanation, IndexSettings, IndexWriter as _, Overlap, PrefixIndex,
    WorkerState,
};
use llmd_core::{ErrorKind, Locality, Medium, WorkerId, testing};
use llmd_routing::testing::{Chance, metrics, pool, request};
use llmd_routing::{Needs, Pool, Request, Scheduler, SchedulerBuilder};

const HEAD: &str = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n";

const PRECISE: &str = "- type: precise-prefix-cache-producer
  parameters: {speculativeIndexing: SPECULATIVE, speculativeTTL: 2s}
- type: prefix-cache-scorer
  parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}
- type: token-load-scorer
";

fn builder(plugins: &str) -> SchedulerBuilder {
    Scheduler::from_yaml(&format!("{HEAD}{plugins}")).expect("the configuration reads")
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An index in which `worker` has said that it holds `tokens`, in blocks of 4.
fn index(worker: WorkerId, tokens: &[u32]) -> (ExactWriter, ExactReader) {
    index_of(worker, tokens, |_| Vec::new())
}

/// The same, after what is said then of all those blocks.
fn index_of(
    worker: WorkerId,
    tokens: &[u32],
    then: impl FnOnce(std::ops::Range<u64>) -> Vec<KvEvent>,
) -> (ExactWriter, ExactReader) {
    let (mut writer, reader) = ExactIndex::new(IndexSettings::default().with_block_size(4));
    let blocks = 0..tokens.len() as u64 / 4;
    let stored = testing::stored(None, blocks.clone(), tokens);
    writer.apply(worker, 0.0, &[KvEvent::BlockStored(stored)]);
    writer.apply(worker, 0.0, &then(blocks));
    writer.set_state(worker, WorkerState::Exact);
    (writer, reader)
}

#[test]
fn a_prompt_goes_where_its_engine_says_that_it_is() {
    let prompt: Vec<_> = (0..16).collect();
    let (_writer, reader) = index(WorkerId(2), &prompt);
    let scheduler = builder(&PRECISE.replace("SPECULATIVE", "false")).with_index(reader).build().unwrap();

    let pool = pool(4);
    let mut decision = scheduler.decide(&request(prompt), &pool, at(0), &mut Chance::new(1)).unwrap();
    assert_eq!(decision.endpoint().name(), "engine-2");
    // An engine computes the last token, and so the block that it is in.
    assert_eq!(decision.predicted_hit_tokens(), 12);
    assert_eq!(
        decision.prefix_match().map(|found| (found.cached, found.total, found.state)),
        Some((4, 4, WorkerState::Exact))
    );
    assert_eq!(pool[2].in_flight().tokens(), 4);

    decision.advance(at(0));
    assert_eq!(decision.predicted_hit_tokens(), 0);
    assert_eq!((pool[2].in_flight().tokens(), decision.endpoint().in_flight().tokens()), (0, 16));
}

#[test]
fn a_prompt_is_expected_where_it_was_sent_until_events_should_have_come() {
    let (_writer, reader) = index(WorkerId(2), &[0; 4]);
    let scheduler = builder(&PRECISE.replace("SPECULATIVE", "true")).with_index(reader).build().unwrap();
    let (pool, mut chance) = (pool(4), Chance::new(1));

    let first = scheduler.decide(&request(100..133), &pool, at(0), &mut chance).unwrap();
    assert_eq!(first.predicted_hit_tokens(), 0);
    let second = scheduler.decide(&request(100..133), &pool, at(1999), &mut chance).unwrap();
    assert_eq!(second.endpoint().name(), first.endpoint().name());
    assert_eq!(second.prefix_match().map(|found| (found.cached, found.speculative)), Some((8, 8)));
    assert_eq!(second.predicted_hit_tokens(), 32);

    // Both have had their time: the first ended at 2000, the second at 3999.
    let third = scheduler.decide(&request(100..133), &pool, at(3999), &mut chance).unwrap();
    assert_eq!(third.predicted_hit_tokens(), 0);
}

#[test]
fn a_block_that_must_be_loaded_counts_for_what_that_saves() {
    let prompt: Vec<_> = (0..40).collect();
    let blocks = |weights: &str, load: f64| {
        let (_writer, reader) = index_of(WorkerId(0), &prompt, |blocks| {
            let offloaded = testing::offloaded(Medium::Cpu, blocks.clone());
            vec![KvEvent::BlockStored(offloaded), testing::removed(Medium::Gpu, blocks)]
        });
        let yaml = PRECISE.replace("speculativeIndexing: SPECULATIVE", &format!("tierWeights: {weights}"));
        let (scheduler, pool) = (builder(&yaml).with_index(reader).build().unwrap(), pool(1));
        let mut said = metrics(0, 0, 0.0);
        said.prefill_s_per_token = Some(100e-6);
        said.load_s_per_token[Medium::Cpu.index()] = Some(load);
        pool[0].set_metrics(said);
        let decision = scheduler.decide(&request(prompt.clone()), &pool, at(0), &mut Chance::new(1)).unwrap();
        let found = decision.prefix_match().map(|found| (found.cached, found.blocks));
        (scheduler.needs().metrics, found.unwrap())
    };
    assert_eq!(blocks("configured", 50e-6), (false, (10, 8)));
    assert_eq!(blocks("measured", 50e-6), (true, (10, 5)));
    assert_eq!(blocks("measured", 200e-6), (true, (10, 0)));
}

#[test]
fn what_lies_on_the_storage_of_the_pool_counts_for_all_by_what_loading_it_saves() {
    let prompt: Vec<_> = (0..40).collect();
    let found = |weights: &str| {
        let (_writer, reader) = index_of(WorkerId(0), &prompt, |blocks| {
            let mut offloaded = testing::offloaded(Medium::Storage, blocks);
            offloaded.locality = Locality::Remote;
            vec![KvEvent::BlockStored(offloaded)]
        });
        let yaml = PRECISE.replace("speculativeIndexing: SPECULATIVE", &format!("tierWeights: {weights}"));
        let (scheduler, pool) = (builder(&yaml).with_index(reader).build().unwrap(), pool(2));
        let mut said = metrics(0, 0, 0.0);
        said.prefill_s_per_token = Some(100e-6);
        said.load_s_per_token[Medium::Storage.index()] = Some(60e-6);
        pool[1].set_metrics(said);
        let one = Pool::new([Arc::clone(&pool[1])]);
        let decision = scheduler.decide(&request(prompt.clone()), &one, at(0), &mut Chance::new(1)).unwrap();
        decision.prefix_match().map(|found| (found.cached, found.blocks, found.hit_tokens)).unwrap()
    };
    assert_eq!(found("configured"), (0, 0, 0), "as in llm-d, an endpoint holds what it holds itself");
    assert_eq!(found("measured"), (10, 4, 36));
}

/// Counts how often it is asked why.
#[derive(Debug)]
struct Counted(ExactReader, Arc<AtomicUsize>);

impl PrefixIndex for Counted {
    fn hasher(&self) -> &BlockHasher {
        self.0.hasher()
    }

    fn query_into(&self, chain: &Chain, overlap: &mut Overlap) {
        self.0.query_into(chain, overlap);
    }

    fn state(&self, worker: WorkerId) -> WorkerState {
        self.0.state(worker)
    }

    fn explain(&self, chain: &Chain) -> Explanation {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.explain(chain)
    }
}

#[test]
fn an_explanation_has_the_index_s_own_words_and_asks_it_once() {
    let (_writer, reader) = index(WorkerId(2), &(0..8).collect::<Vec<_>>());
    let asked = Arc::new(AtomicUsize::new(0));
    let scheduler = builder(&PRECISE.replace("SPECULATIVE", "false"))
        .with_index(Counted(reader, Arc::clone(&asked)))
        .build()
        .unwrap();
    let decision = scheduler.decide(&request(0..16), &pool(4), at(0), &mut Chance::new(1)).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 0, "nobody has asked yet");

    let explanation = decision.explain();
    let why = |name: &str| {
        let endpoint = explanation.profiles[0].endpoints.iter().find(|it| it.endpoint == name).unwrap();
        endpoint.why.as_deref()
    };
    assert_eq!(why("engine-2"), Some("(exact): holds 2 leading; block 2 was never stored, or long ago"));
    assert_eq!(why("engine-1"), None, "the index does not know it");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn without_an_index_the_precise_producer_is_refused() {
    let error = builder(&PRECISE.replace("SPECULATIVE", "false")).build().unwrap_err();
    let message = "`precise-prefix-cache-producer` asks an index of KV events, and the scheduler was built without one";
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Invalid, message.to_owned()));
}

#[test]
fn without_events_a_prompt_goes_where_one_like_it_went() {
    let scheduler = builder("- type: prefix-cache-scorer\n").build().unwrap();
    let (pool, mut chance) = (pool(8), Chance::new(3));
    let first = scheduler.decide(&request(0..200), &pool, at(0), &mut chance).unwrap();
    for _ in 0..8 {
        let like = scheduler.decide(&request(0..150), &pool, at(0), &mut chance).unwrap();
        assert_eq!(like.endpoint().name(), first.endpoint().name());
        assert_eq!(like.predicted_hit_tokens(), 128);
        assert_eq!(like.prefix_match().map(|found| found.state), Some(WorkerState::Approximate));
    }
}

#[test]
fn what_is_believed_of_a_cache_is_bounded_by_what_its_engine_says() {
    let scheduler = builder("- type: prefix-cache-scorer\n").build().unwrap();
    let (pool, mut chance) = (pool(1), Chance::new(3));
    let mut said = metrics(0, 0, 0.0);
    (said.block_size, said.num_blocks) = (Some(128), Some(4));
    pool[0].set_metrics(said);

    drop(scheduler.decide(&request(0..1000), &pool, at(0), &mut chance).unwrap());
    let again = scheduler.decide(&request(0..1000), &pool, at(0), &mut chance).unwrap();
    assert_eq!(again.prefix_match().map(|found| (found.block_size, found.cached, found.total)), Some((128, 4, 8)));
}

#[test]
fn a_rest_that_fills_no_block_is_a_block_of_its_own_as_in_llmd() {
    let scheduler = builder("- type: prefix-cache-scorer\n").build().unwrap();
    let (pool, mut chance) = (pool(1), Chance::new(3));
    let mut found = |prompt| {
        let decision = scheduler.decide(&request(prompt), &pool, at(0), &mut chance).unwrap();
        let hit = decision.predicted_hit_tokens();
        decision.prefix_match().map(|found| (found.cached, found.total, hit)).unwrap()
    };

    found(0..200);
    assert_eq!(found(0..200), (4, 4, 192), "an engine computes the rest all the same");
    assert_eq!(found(0..201), (3, 4, 192), "another rest");
    assert_eq!(found(0..192), (3, 3, 128));
    assert_eq!(found(0..63), (0, 0, 0), "less than a block has none");
}

#[test]
fn a_prompt_is_forgotten_from_its_end_unless_blocks_are_counted_as_in_llmd() {
    for (counting, expected) in [("contiguous", [1, 1]), ("llm-d", [0, 1])] {
        let producer = format!("- {{type: approx-prefix-cache-producer, parameters: {{counting: {counting}}}}}");
        let scheduler = builder(&format!("{producer}\n- type: prefix-cache-scorer\n")).build().unwrap();
        let (both, mut chance) = (pool(2), Chance::new(3));
        let send = |tokens, place: usize, chance: &mut Chance| {
            let one = Pool::new([Arc::clone(&both[place])]);
            drop(scheduler.decide(&request(tokens), &one, at(0), chance).unwrap());
        };
        // The first has room for two blocks, and gets a third.
        both[0].set_metrics({
            let mut said = metrics(0, 0, 0.0);
            (said.block_size, said.num_blocks) = (Some(64), Some(2));
            said
        });
        send(0..128, 0, &mut chance);
        send(0..128, 1, &mut chance);
        send(1000..1064, 0, &mut chance);
        let found = scheduler.decide(&request(0..64), &both, at(0), &mut chance).unwrap().explain();
        let mut blocks: Vec<_> = found.profiles[0].endpoints.iter().map(|it| (&it.endpoint, it.prefix)).collect();
        blocks.sort_unstable_by_key(|(endpoint, _)| *endpoint);
        assert_eq!(blocks.iter().map(|(_, found)| found.unwrap().blocks).collect::<Vec<_>>(), expected, "{counting}");
    }
}

#[test]
fn what_one_tenant_sent_is_cached_for_no_other() {
    let scheduler = builder("- type: prefix-cache-scorer\n").build().unwrap();
    let (pool, mut chance) = (pool(2), Chance::new(3));
    let mut hit = |tenant: &str| {
        let decision = scheduler.decide(&request(0..200).of_tenant(tenant), &pool, at(0), &mut chance).unwrap();
        decision.predicted_hit_tokens()
    };
    assert_eq!([hit("a"), hit("a"), hit("b"), hit("b")], [0, 192, 0, 192]);
}

#[test]
fn an_endpoint_that_is_gone_is_forgotten() {
    let scheduler = builder("- type: prefix-cache-scorer\n").build().unwrap();
    let (both, mut chance) = (pool(2), Chance::new(3));
    let one = |place: usize| Pool::new([Arc::clone(&both[place])]);
    drop(scheduler.decide(&request(0..200), &one(0), at(0), &mut chance).unwrap());
    drop(scheduler.decide(&request(0..200), &one(1), at(121_000), &mut chance).unwrap());

    let first = scheduler.decide(&request(0..200), &one(0), at(121_001), &mut chance).unwrap();
    assert_eq!(first.predicted_hit_tokens(), 0);
    let second = scheduler.decide(&request(0..200), &one(1), at(121_001), &mut chance).unwrap();
    assert_eq!(second.predicted_hit_tokens(), 192);
}

#[test]
fn a_request_without_tokens_is_routed_all_the_same() {
    let (_writer, reader) = index(WorkerId(2), &[0; 4]);
    let scheduler = builder(&PRECISE.replace("SPECULATIVE", "true")).with_index(reader).build().unwrap();
    let bare = Request::new("r", "m");
    let decision = scheduler.decide(&bare, &pool(4), at(0), &mut Chance::new(1)).unwrap();
    assert_eq!((decision.predicted_hit_tokens(), decision.prefix_match()), (0, None));
}

#[test]
fn nothing_is_asked_for_that_no_plugin_reads() {
    let needs = |plugins: &str| {
        let (_, reader) = index(WorkerId(0), &[0; 4]);
        let Needs { tokens, metrics, events, response, .. } =
            builder(plugins).with_index(reader).build().unwrap().needs();
        [tokens, metrics, events, response]
    };
    assert_eq!(needs("- type: round-robin-picker"), [false; 4]);
    assert_eq!(needs("- type: active-request-scorer"), [false; 4]);
    assert_eq!(needs("- type: queue-scorer"), [false, true, false, false]);
    assert_eq!(needs("- type: token-load-scorer"), [true, false, false, true]);
    assert_eq!(needs("- type: prefix-cache-scorer"), [true, true, false, false]);
    assert_eq!(needs(&PRECISE.replace("SPECULATIVE", "false")), [true, false, true, true]);
    assert_eq!(needs("- type: precise-prefix-cache-producer\n- type: round-robin-picker"), [false; 4]);
    assert_eq!(needs("- type: precise-prefix-cache-producer\n- type: token-load-scorer"), [true, false, true, true]);
}
