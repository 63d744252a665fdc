use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::Constants;
use crate::model::pool::tests::follow;
use crate::model::{Admission, CacheEvent};

const BLOCK: usize = 4;

fn settings(num_blocks: u32) -> EngineSettings {
    let mut constants = Constants::QWEN3_32B_TP2_H100;
    constants.front_end_s = 0.0;
    let mut settings = EngineSettings::new(constants.scaled(1));
    (settings.block_size, settings.num_blocks) = (BLOCK, num_blocks);
    settings.max_model_len = settings.kv_cache_tokens();
    settings
}

fn engine(settings: EngineSettings) -> Engine {
    Engine::new(settings, |seed, position| (seed as usize * 100 + position) as TokenId).unwrap()
}

fn request(first: TokenId, len: usize, max_tokens: usize) -> NewRequest {
    let mut request = NewRequest::new((first..).take(len).collect::<Vec<_>>(), max_tokens);
    request.seed = first.into();
    request
}

/// Steps until nothing is left to do; every output and admission on the way.
fn drain(engine: &mut Engine) -> (Vec<Output>, Vec<Admission>) {
    let (mut now, mut report) = (Duration::from_secs(1), StepReport::default());
    let (mut outputs, mut admitted) = (Vec::new(), Vec::new());
    while let Some(takes) = engine.begin_step(now) {
        now += takes;
        engine.end_step(now, &mut report);
        outputs.append(&mut report.outputs);
        admitted.append(&mut report.admitted);
    }
    (outputs, admitted)
}

fn seconds(takes: Option<Duration>) -> f64 {
    takes.expect("there is work").as_secs_f64()
}

#[test]
fn an_exact_multiple_computes_its_last_block_again_and_stores_a_second_copy() {
    let mut engine = engine(settings(16));
    for _ in 0..2 {
        engine.submit(Duration::ZERO, request(10, 2 * BLOCK, 1)).unwrap();
        drain(&mut engine);
    }
    let mut copies: Vec<_> = engine.pool().cached().map(|(_, copies)| copies).collect();
    copies.sort_unstable();
    assert_eq!(copies, [1, 2]);
}

#[test]
fn a_hit_never_covers_the_last_token() {
    let mut engine = engine(settings(16));
    let lengths = [2 * BLOCK, 2 * BLOCK, 2 * BLOCK + 1];
    let hits = lengths.map(|len| {
        engine.submit(Duration::ZERO, request(10, len, 1)).unwrap();
        drain(&mut engine).1[0].cached_tokens
    });
    assert_eq!(hits, [0, BLOCK, 2 * BLOCK]);
}

#[test]
fn another_salt_or_adapter_shares_nothing() {
    let mut engine = engine(settings(32));
    let mut salted = request(10, 2 * BLOCK + 1, 1);
    salted.cache_salt = Some("tenant".into());
    let mut adapted = request(10, 2 * BLOCK + 1, 1);
    adapted.adapter = Some(crate::model::Adapter { id: 1, lora: llmd_core::hash::Lora::new("a").with_path("/a") });
    let hits = [request(10, 2 * BLOCK + 1, 1), salted.clone(), adapted, salted].map(|request| {
        engine.submit(Duration::ZERO, request).unwrap();
        drain(&mut engine).1[0].cached_tokens
    });
    assert_eq!(hits, [0, 0, 0, 2 * BLOCK]);
}

#[test]
fn a_step_takes_the_published_time() {
    let constants = Constants::QWEN3_32B_TP2_H100;
    let mut engine = engine(settings(64));
    engine.submit(Duration::ZERO, request(10, 100, 2)).unwrap();

    let prefill = seconds(engine.begin_step(Duration::ZERO));
    assert!((prefill - (0.011 + 100.0 / constants.prefill_tokens_per_s)).abs() < 1e-6, "{prefill}");
    engine.end_step(Duration::from_secs(1), &mut StepReport::default());
    let decode = seconds(engine.begin_step(Duration::from_secs(1)));
    let read = 100.0 * constants.kv_bytes_per_token / constants.memory_bytes_per_s;
    assert!((decode - (0.011 + read)).abs() < 1e-6, "{decode}");
}

#[test]
fn a_scaled_token_takes_as_long_as_the_tokens_it_stands_for() {
    let (one, eight) = (Constants::QWEN3_32B_TP2_H100.scaled(1), Constants::QWEN3_32B_TP2_H100.scaled(8));

    assert!((eight.step_s(1, 0, 100) - one.step_s(1, 0, 800)).abs() < 1e-9);
    assert!((eight.step_s(8, 100, 0) - 8.0 * one.step_s(1, 800, 0)).abs() < 1e-9);
    assert_eq!(eight.kv_cache_tokens(), one.kv_cache_tokens() / 8);
}

#[test]
fn the_front_end_delays_the_first_token() {
    let mut settings = settings(16);
    settings.constants = Constants::QWEN3_32B_TP2_H100.scaled(1);
    let mut engine = engine(settings);
    engine.submit(Duration::from_secs(1), request(10, 3, 1)).unwrap();

    assert_eq!(engine.begin_step(Duration::from_secs(1)), None);
    assert_eq!(engine.next_arrival(), Some(Duration::from_millis(1015)));
    assert!(engine.begin_step(Duration::from_millis(1015)).is_some());
}

#[test]
fn a_long_prompt_is_computed_in_chunks_while_others_decode() {
    let mut settings = settings(64);
    settings.max_num_batched_tokens = 10;
    let mut engine = engine(settings);
    let short = engine.submit(Duration::ZERO, request(500, 2, 6)).unwrap();
    let long = engine.submit(Duration::ZERO, request(10, 26, 1)).unwrap();

    let (outputs, _) = drain(&mut engine);
    let order: Vec<_> = outputs.iter().map(|output| output.request).collect();
    // 8 tokens of the long prompt fit beside the short one, then 9 beside each decode.
    assert_eq!(order, [short, short, short, long, short, short, short]);
}

#[test]
fn a_shortage_takes_the_blocks_of_the_newest_and_everyone_still_ends() {
    let mut engine = engine(settings(9));
    let old = engine.submit(Duration::ZERO, request(10, 3 * BLOCK, 8)).unwrap();
    let new = engine.submit(Duration::ZERO, request(50, 3 * BLOCK, 8)).unwrap();

    let (outputs, admitted) = drain(&mut engine);
    let resumed: Vec<_> =
        admitted.iter().filter(|admission| admission.resumed).map(|admission| admission.request).collect();
    assert_eq!(resumed, [new]);
    for id in [old, new] {
        let tokens: Vec<_> = outputs.iter().filter(|output| output.request == id).collect();
        assert_eq!(tokens.len(), 8);
        assert_eq!(tokens[7].finish.unwrap().preemptions, usize::from(id == new));
    }
    assert_eq!(engine.pool().used(), 0);
}

#[test]
fn an_aborted_request_leaves_its_full_blocks_to_be_found() {
    let mut engine = engine(settings(16));
    let id = engine.submit(Duration::ZERO, request(10, 2 * BLOCK + 1, 50)).unwrap();
    engine.begin_step(Duration::ZERO);
    assert!(engine.abort(id));
    engine.end_step(Duration::from_secs(1), &mut StepReport::default());

    assert!(!engine.abort(id));
    assert_eq!((engine.pool().used(), engine.pool().cached().count()), (0, 2));
    assert_eq!(engine.begin_step(Duration::from_secs(1)), None);
}

#[test]
fn what_the_engine_cannot_do_is_refused_with_its_numbers() {
    let mut settings = settings(4);
    settings.max_waiting = 1;
    let mut engine = engine(settings);
    let mut refused = |request| {
        let error = engine.submit(Duration::ZERO, request).unwrap_err();
        (error.kind(), error.to_string())
    };

    let (kind, message) = refused(request(10, 10, 3));
    assert_eq!(
        (kind, message.as_str()),
        (ErrorKind::Invalid, "a prompt of 10 tokens and 3 tokens of output exceed the 12 of the model")
    );
    assert_eq!(refused(request(10, 0, 3)).0, ErrorKind::Invalid);
    assert_eq!(refused(request(10, 3, 0)).0, ErrorKind::Invalid);
    engine.submit(Duration::ZERO, request(10, 3, 1)).unwrap();
    assert_eq!(engine.submit(Duration::ZERO, request(10, 3, 1)).unwrap_err().kind(), ErrorKind::Exhausted);
}

#[test]
fn settings_that_cannot_work_are_named() {
    let refused = |change: fn(&mut EngineSettings)| {
        let mut settings = settings(4);
        change(&mut settings);
        Engine::new(settings, |_, _| 0).unwrap_err().to_string()
    };
    assert_eq!(refused(|settings| settings.block_size = 0), "block_size is 0, expected at least 1");
    assert_eq!(
        refused(|settings| settings.max_model_len = 13),
        "max_model_len is 13, but the KV cache holds 12 tokens"
    );
    assert_eq!(
        refused(|settings| settings.num_blocks = 1),
        "num_blocks is 1, expected at least 2: block 0 holds nothing"
    );
}

#[derive(Clone, Debug)]
enum Move {
    Submit { first: TokenId, len: usize, max_tokens: usize },
    Step,
    Abort { nth: usize },
    Reset { running_too: bool },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let step = prop_oneof![
        4 => (0..3_u32, 1..20_usize, 1..12_usize)
            .prop_map(|(first, len, max_tokens)| Move::Submit { first: first * 1000, len, max_tokens }),
        12 => Just(Move::Step),
        1 => (0..8_usize).prop_map(|nth| Move::Abort { nth }),
        1 => any::<bool>().prop_map(|running_too| Move::Reset { running_too }),
    ];
    proptest::collection::vec(step, 0..150)
}

proptest! {
    /// Whatever comes, events tell exactly the cache at the end of each step, and every request that is not aborted gets
    /// all of its tokens, each once.
    #[test]
    fn every_request_ends_and_events_tell_the_cache(moves in moves()) {
        let mut settings = settings(14);
        (settings.max_num_seqs, settings.max_num_batched_tokens) = (4, 12);
        let mut engine = engine(settings);
        let (mut now, mut report, mut told) = (Duration::ZERO, StepReport::default(), BTreeMap::new());
        let mut expected = BTreeMap::new();
        let mut produced: BTreeMap<RequestId, usize> = BTreeMap::new();
        let rest = std::iter::repeat_n(Move::Step, 10_000);
        let given = moves.len();
        for (at, step) in moves.into_iter().chain(rest).enumerate() {
            if at >= given && engine.running() + engine.waiting() == 0 {
                break;
            }
            match step {
                Move::Submit { first, len, max_tokens } => {
                    let id = engine.submit(now, request(first, len, max_tokens)).unwrap();
                    expected.insert(id, max_tokens);
                }
                Move::Step => {
                    let Some(takes) = engine.begin_step(now) else { continue };
                    now += takes;
                    engine.end_step(now, &mut report);
                    for output in &report.outputs {
                        let count = produced.entry(output.request).or_default();
                        prop_assert_eq!(output.position, *count);
                        *count += 1;
                        prop_assert_eq!(output.finish.is_some(), *count == expected[&output.request]);
                    }
                }
                Move::Abort { nth } => {
                    let running: Vec<_> = expected.keys().copied().collect();
                    if let Some(id) = running.get(nth) && engine.abort(*id) {
                        expected.remove(id);
                        produced.remove(id);
                    }
                }
                Move::Reset { running_too } => {
                    if running_too {
                        engine.preempt_all();
                    }
                    let idle = engine.running() == 0;
                    prop_assert_eq!(engine.reset_prefix_cache(), idle);
                }
            }
            let events = engine.take_events();
            follow(&mut told, events);
            let cached: BTreeMap<_, _> = engine.pool().cached().map(|(hash, copies)| (*hash, copies)).collect();
            prop_assert_eq!(&told, &cached);
        }
        prop_assert_eq!(produced, expected);
        prop_assert_eq!((engine.running(), engine.waiting(), engine.pool().used()), (0, 0, 0));
    }
}

#[test]
fn evictions_are_announced_before_the_blocks_that_replaced_them() {
    let mut engine = engine(settings(4));
    engine.submit(Duration::ZERO, request(10, 3 * BLOCK - 1, 1)).unwrap();
    drain(&mut engine);
    engine.take_events();
    engine.submit(Duration::ZERO, request(50, 3 * BLOCK - 1, 1)).unwrap();
    drain(&mut engine);

    let events = engine.take_events();
    let stores = events.iter().position(|event| matches!(event, CacheEvent::Stored(_))).unwrap();
    assert_eq!((stores, events.len()), (2, 3));
}
