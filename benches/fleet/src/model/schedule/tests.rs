use std::time::Duration;

use crate::Constants;
use crate::model::{Engine, EngineSettings, NewRequest, StepReport};

const SCALE: usize = 8;

fn engine(scale: usize) -> Engine {
    Engine::new(EngineSettings::new(Constants::QWEN3_32B_TP2_H100.scaled(scale)), |_, position| position as u32)
        .unwrap()
}

/// Runs one step and says how long it took, and how many outputs came of it.
fn step(engine: &mut Engine, now: &mut Duration) -> (f64, usize) {
    let took = engine.begin_step(*now).unwrap();
    *now += took;
    let mut report = StepReport::default();
    engine.end_step(*now, &mut report);
    (took.as_secs_f64(), report.outputs.len())
}

#[test]
fn a_simulated_token_takes_as_long_as_the_real_ones_it_stands_for() {
    let mut times = Vec::new();
    for scale in [1, SCALE] {
        let (mut engine, mut now) = (engine(scale), Duration::from_secs(1));
        engine.submit(Duration::ZERO, NewRequest::new(vec![7; 4096 / scale], 161)).unwrap();
        step(&mut engine, &mut now);
        let begin = now;
        for _ in 0..160 / scale {
            assert_eq!(step(&mut engine, &mut now).1, 1);
        }
        times.push((now - begin).as_secs_f64());
    }
    assert!((times[0] - times[1]).abs() < 0.01 * times[0], "{times:?}");
}

#[test]
fn beside_a_prefill_a_sequence_decodes_once_a_step() {
    let (mut engine, mut now) = (engine(SCALE), Duration::from_secs(1));
    engine.submit(Duration::ZERO, NewRequest::new(vec![7; 16], 100)).unwrap();
    step(&mut engine, &mut now);
    engine.submit(Duration::ZERO, NewRequest::new(vec![8; 30_000], 1)).unwrap();

    let outputs: Vec<usize> = (0..24).map(|_| step(&mut engine, &mut now).1).collect();
    let expected: Vec<usize> = (1..=24).map(|n| usize::from(n % SCALE == 0)).collect();
    assert_eq!(outputs, expected);
}

#[test]
fn without_a_scale_every_sequence_yields_a_token_a_step() {
    let (mut engine, mut now) = (engine(1), Duration::from_secs(1));
    for _ in 0..3 {
        engine.submit(Duration::ZERO, NewRequest::new(vec![7; 16], 10)).unwrap();
    }
    let outputs: Vec<usize> = (0..10).map(|_| step(&mut engine, &mut now).1).collect();
    assert_eq!(outputs, [3; 10]);
    assert!(engine.begin_step(now).is_none());
}

#[test]
fn sequences_that_began_apart_keep_their_own_pace() {
    let (mut engine, mut now) = (engine(SCALE), Duration::from_secs(1));
    engine.submit(Duration::ZERO, NewRequest::new(vec![7; 16], 3)).unwrap();
    step(&mut engine, &mut now);
    // Three steps of prefill put the second sequence three real steps behind the first.
    engine.submit(Duration::ZERO, NewRequest::new(vec![8; 3 * 1024], 3)).unwrap();
    let mut outputs = vec![];
    while let Some(took) = engine.begin_step(now) {
        now += took;
        let mut report = StepReport::default();
        engine.end_step(now, &mut report);
        outputs.push(report.outputs.len());
    }
    assert_eq!(outputs, [0, 0, 1, 1, 1, 1, 1], "the second's first token, then the two in turn");
}
