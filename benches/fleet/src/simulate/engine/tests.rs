use std::collections::HashMap;
use std::sync::Arc;

use llmd_core::TokenId;
use proptest::prelude::*;

use super::name::output_token;
use super::*;
use crate::Constants;
use crate::model::{self, CacheEvent, Digest, EngineSettings, NewRequest, RequestId};

/// A request: when it comes after the one before, which beginning it has, and how long it is.
#[derive(Clone, Debug)]
struct Asked {
    after_ms: u64,
    family: TokenId,
    len: usize,
    output: usize,
}

fn asked() -> impl Strategy<Value = Vec<Asked>> {
    let one = (0..60_u64, 0..4_u32, 1..40_usize, 1..24_usize).prop_map(|(after_ms, family, len, output)| Asked {
        after_ms,
        family,
        len,
        output,
    });
    proptest::collection::vec(one, 1..60)
}

/// Two requests of one family share all tokens of the shorter one but the last few.
fn tokens(asked: &Asked, n: usize) -> Vec<TokenId> {
    let shared = asked.len * 3 / 4;
    let own = (shared..asked.len).map(|position| 1_000_000 + n as TokenId * 100 + position as TokenId);
    (0..shared).map(|position| asked.family * 1000 + position as TokenId).chain(own).collect()
}

/// Everything that can be seen of a run, in order.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Admitted(Admitted),
    Finished { tag: usize, cached: usize, preemptions: usize },
    First(usize),
    Preempted(usize),
    Removed(Name),
    Step(Duration),
    Stored { parent: Option<Name>, names: Vec<Name>, tokens: Vec<TokenId> },
}

/// One of the two engines.
trait Side {
    fn submit(&mut self, now: Duration, tag: usize, asked: &Asked);
    fn next_arrival(&self) -> Option<Duration>;
    fn begin(&mut self, now: Duration) -> Option<Duration>;
    fn end(&mut self, now: Duration, seen: &mut Vec<Seen>);
    fn load(&self) -> (usize, usize, f64);
}

struct Fast(Engine, StepReport);

impl Side for Fast {
    fn submit(&mut self, now: Duration, tag: usize, asked: &Asked) {
        let tokens = tokens(asked, tag);
        let stream = Arc::new(Stream::new(tokens, self.0.machine().block_size));
        let prompt = Prompt::new(stream, usize::MAX);
        let (output, seed) = (asked.output, tag as u64);
        assert!(self.0.submit(now, Job { tag, prompt, output, follows: false, seed, pulled: None }));
    }

    fn next_arrival(&self) -> Option<Duration> {
        self.0.next_arrival()
    }

    fn begin(&mut self, now: Duration) -> Option<Duration> {
        self.0.begin_step(now)
    }

    fn end(&mut self, _: Duration, seen: &mut Vec<Seen>) {
        self.0.end_step(&mut self.1);
        for event in self.0.take_events() {
            match event {
                KvEvent::BlockRemoved(removed) => {
                    seen.extend(removed.block_hashes.iter().map(|hash| Seen::Removed(number(hash))));
                }
                KvEvent::BlockStored(stored) => seen.push(Seen::Stored {
                    parent: stored.parent_block_hash.as_ref().map(number),
                    names: stored.block_hashes.iter().map(number).collect(),
                    tokens: stored.token_ids,
                }),
                other => panic!("{other:?}"),
            }
        }
        let report = &self.1;
        seen.push(Seen::Preempted(report.preempted));
        seen.extend(report.admitted.iter().copied().map(Seen::Admitted));
        seen.extend(report.first.iter().copied().map(Seen::First));
        seen.extend(report.finished.iter().map(|finished| Seen::Finished {
            tag: finished.tag,
            cached: finished.cached_tokens,
            preemptions: finished.preemptions as usize,
        }));
    }

    fn load(&self) -> (usize, usize, f64) {
        (self.0.running(), self.0.waiting(), self.0.cache_usage())
    }
}

fn number(hash: &llmd_core::ExternalBlockHash) -> Name {
    hash.to_string().parse().expect("the engine's names are numbers")
}

struct Slow {
    engine: model::Engine,
    report: model::StepReport,
    tags: HashMap<RequestId, usize>,
    /// The fast engine's names, learnt from its own events, which come first.
    names: HashMap<Digest, Name>,
    told: Vec<Vec<Name>>,
}

impl Side for Slow {
    fn submit(&mut self, now: Duration, tag: usize, asked: &Asked) {
        let mut request = NewRequest::new(tokens(asked, tag), asked.output);
        request.seed = tag as u64;
        self.tags.insert(self.engine.submit(now, request).unwrap(), tag);
    }

    fn next_arrival(&self) -> Option<Duration> {
        self.engine.next_arrival()
    }

    fn begin(&mut self, now: Duration) -> Option<Duration> {
        self.engine.begin_step(now)
    }

    fn end(&mut self, now: Duration, seen: &mut Vec<Seen>) {
        self.engine.end_step(now, &mut self.report);
        for event in self.engine.take_events() {
            match event {
                CacheEvent::Removed(hash) => seen.push(Seen::Removed(self.names[&hash])),
                CacheEvent::Stored(stored) => {
                    // As the fast engine named them, as long as a name never means two things.
                    let told = if self.told.is_empty() { Vec::new() } else { self.told.remove(0) };
                    let known = stored.hashes.iter().zip(told);
                    let names = known.map(|(&hash, name)| *self.names.entry(hash).or_insert(name)).collect();
                    seen.push(Seen::Stored {
                        parent: stored.parent.map(|parent| self.names[&parent]),
                        names,
                        tokens: stored.tokens,
                    });
                }
                CacheEvent::Cleared => panic!("nobody cleared it"),
            }
        }
        seen.push(Seen::Preempted(self.report.preempted));
        seen.extend(self.report.admitted.iter().map(|admission| {
            Seen::Admitted(Admitted {
                tag: self.tags[&admission.request],
                tokens: admission.tokens,
                cached_tokens: admission.cached_tokens,
                resumed: admission.resumed,
            })
        }));
        let first = self.report.outputs.iter().filter(|output| output.position == 0);
        seen.extend(first.map(|output| Seen::First(self.tags[&output.request])));
        seen.extend(self.report.outputs.iter().filter_map(|output| {
            let finish = output.finish?;
            let (tag, cached) = (self.tags[&output.request], output.cached_tokens);
            Some(Seen::Finished { tag, cached, preemptions: finish.preemptions })
        }));
    }

    fn load(&self) -> (usize, usize, f64) {
        let pool = self.engine.pool();
        (self.engine.running(), self.engine.waiting(), pool.used() as f64 / pool.capacity() as f64)
    }
}

/// Runs to the end and says everything that could be seen.
fn run(side: &mut dyn Side, asked: &[Asked], seen: &mut Vec<Seen>) {
    let mut coming: Vec<_> = asked
        .iter()
        .scan(Duration::ZERO, |at, asked| {
            *at += Duration::from_millis(asked.after_ms);
            Some((*at, asked))
        })
        .enumerate()
        .collect();
    coming.reverse();
    let mut now = Duration::ZERO;
    for _ in 0..20_000 {
        while let Some((tag, (at, asked))) = coming.pop_if(|(_, (at, _))| *at <= now) {
            side.submit(at, tag, asked);
        }
        match side.begin(now) {
            Some(takes) => {
                now += takes;
                seen.push(Seen::Step(takes));
                side.end(now, seen);
            }
            None => {
                let next = coming.last().map(|(_, (at, _))| *at).into_iter().chain(side.next_arrival()).min();
                let Some(next) = next else { return };
                now = now.max(next);
            }
        }
    }
    panic!("it does not come to an end");
}

/// Everything that could be seen of the fast engine, which is what could be seen of the model.
fn compare(asked: &[Asked], block_size: usize, room: usize, seqs: usize, batched: usize) -> Vec<Seen> {
    let mut machine = Machine::new(Constants::QWEN3_32B_TP2_H100);
    machine.block_size = block_size;
    machine.constants.kv_cache_tokens = (66 + room).next_multiple_of(block_size);
    let mut settings = EngineSettings::new(machine.constants.scaled(1));
    (settings.block_size, settings.num_blocks) = (block_size, machine.blocks());
    (settings.max_num_seqs, settings.max_num_batched_tokens) = (seqs, batched);
    settings.max_model_len = settings.kv_cache_tokens();
    let engine = model::Engine::new(settings, output_token).unwrap();

    let mut fast = Fast(Engine::with_limits(machine, true, seqs, batched), StepReport::default());
    let mut fast_seen = Vec::new();
    run(&mut fast, asked, &mut fast_seen);
    let told = fast_seen.iter().filter_map(|seen| match seen {
        Seen::Stored { names, .. } => Some(names.clone()),
        _ => None,
    });
    let told = told.collect();
    let (report, tags, names) = (model::StepReport::default(), HashMap::new(), HashMap::new());
    let mut slow = Slow { engine, report, tags, names, told };
    let mut slow_seen = Vec::new();
    run(&mut slow, asked, &mut slow_seen);

    for (fast, slow) in fast_seen.iter().zip(&slow_seen) {
        assert_eq!(fast, slow);
    }
    assert_eq!(fast_seen.len(), slow_seen.len());
    assert_eq!((fast.load(), slow.load()), ((0, 0, 0.0), (0, 0, 0.0)));
    fast_seen
}

#[test]
fn the_comparison_sees_hits_chunks_evictions_shortages_and_resumptions() {
    let asked: Vec<_> =
        (0..20).map(|n| Asked { after_ms: 10, family: n % 3, len: 30 + n as usize, output: 20 }).collect();
    let seen = compare(&asked, 4, 40, 4, 16);
    let any = |is: fn(&Seen) -> bool| seen.iter().any(is);
    assert!(any(|seen| matches!(seen, Seen::Preempted(1..))));
    assert!(any(|seen| matches!(seen, Seen::Removed(_))));
    assert!(any(|seen| matches!(seen, Seen::Admitted(Admitted { resumed: true, .. }))));
    assert!(any(|seen| matches!(seen, Seen::Admitted(Admitted { cached_tokens: 1.., resumed: false, .. }))));
    assert!(any(|seen| matches!(seen, Seen::Finished { preemptions: 1.., .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever comes, the fast engine does what the model does.
    #[test]
    fn the_fast_engine_is_the_model(
        asked in asked(),
        block_size in prop_oneof![Just(1_usize), Just(4), Just(7)],
        room in 0..60_usize,
        (seqs, batched) in (2..9_usize, 9..40_usize),
    ) {
        compare(&asked, block_size, room, seqs, batched);
    }
}

fn stream(first: TokenId, len: usize) -> Prompt {
    Prompt::new(Arc::new(Stream::new((first..).take(len).collect::<Vec<_>>(), 4)), usize::MAX)
}

fn job(tag: usize, prompt: Prompt) -> Job {
    Job { tag, prompt, output: 1, follows: false, seed: 0, pulled: None }
}

/// Answers one request, and says how many tokens were cached and how long its first step took.
fn answer(engine: &mut Engine, job: Job) -> (usize, f64) {
    let mut now = Duration::from_secs(1000);
    assert!(engine.submit(Duration::ZERO, job));
    let (mut report, mut first) = (StepReport::default(), None);
    while let Some(takes) = engine.begin_step(now) {
        now += takes;
        first.get_or_insert(takes);
        engine.end_step(&mut report);
    }
    (report.finished[0].cached_tokens, first.unwrap().as_secs_f64())
}

fn small(host_tokens: usize) -> Machine {
    let mut machine = Machine::new(Constants::QWEN3_32B_TP2_H100);
    (machine.block_size, machine.host_tokens, machine.constants.kv_cache_tokens) = (4, host_tokens, 400);
    machine
}

#[test]
fn what_the_gpu_has_lost_comes_back_from_host_memory_in_the_time_of_the_link() {
    let mut machine = small(4000);
    // No block of the first prompt survives the second.
    (machine.host_bytes_per_s, machine.constants.kv_cache_tokens) = (1e8, 304);
    let mut engine = Engine::new(machine.clone(), true);
    let prompt = stream(0, 301);
    assert_eq!(answer(&mut engine, job(0, prompt.clone())).0, 0);
    answer(&mut engine, job(1, stream(1000, 301)));

    let (cached, took) = answer(&mut engine, job(2, prompt));

    let link = 300.0 * machine.constants.kv_bytes_per_token / machine.host_bytes_per_s;
    assert_eq!(cached, 300);
    assert!((took - (machine.constants.step_s + link)).abs() < 1e-3, "{took} is not {link} and a step");
    let mut without = Engine::new(Machine { host_tokens: 0, ..machine }, false);
    (0..3).for_each(|n| assert_eq!(answer(&mut without, job(n, stream(n as TokenId % 2 * 1000, 301))).0, 0));
}

#[test]
fn host_memory_is_told_apart_from_the_gpu_in_events() {
    let mut engine = Engine::new(small(4000), true);
    answer(&mut engine, job(0, stream(0, 9)));
    let stored = engine.take_events().into_iter().map(|event| match event {
        KvEvent::BlockStored(stored) => (stored.medium, stored.block_hashes.len(), stored.token_ids.len()),
        other => panic!("{other:?}"),
    });
    assert_eq!(stored.collect::<Vec<_>>(), [(Medium::Gpu, 2, 8), (Medium::Cpu, 2, 0)]);
}

#[test]
fn what_a_peer_sends_is_not_computed_but_waited_for() {
    let mut engine = Engine::new(small(0), false);
    let takes = Duration::from_millis(500);
    let pulling = Job { pulled: Some((200, takes)), ..job(0, stream(0, 301)) };
    assert!(engine.submit(Duration::ZERO, pulling.clone()));
    assert_eq!(engine.next_arrival(), Some(takes + Duration::from_millis(15)));
    let mut engine = Engine::new(small(0), false);
    assert_eq!(answer(&mut engine, pulling).0, 200);
}

#[test]
fn an_engine_that_died_has_lost_everything_and_works_again() {
    let mut engine = Engine::new(small(4000), false);
    answer(&mut engine, job(0, stream(0, 301)));
    engine.submit(Duration::ZERO, job(7, stream(0, 301)));
    assert_eq!(engine.die(), [7]);
    assert_eq!((engine.running(), engine.waiting(), engine.held(&stream(0, 301))), (0, 0, 0));
    assert_eq!(answer(&mut engine, job(8, stream(0, 301))).0, 0);
}

#[test]
fn what_does_not_fit_is_not_taken() {
    let mut engine = Engine::new(small(0), false);
    assert!(!engine.submit(Duration::ZERO, job(0, stream(0, 400))));
    assert!(!engine.submit(Duration::ZERO, job(0, stream(0, 0))));
    assert!(engine.submit(Duration::ZERO, job(0, stream(0, 399))));
}
