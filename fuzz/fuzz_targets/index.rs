//! The exact index beside its model, while engines do what the bytes choose for them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llmd_core::WorkerId;
use llmd_core::hash::HashKey;
use llmd_core::index::{ExactIndex, IndexSettings, IndexWriter, PrefixIndex as _};
use llmd_core::testing::{ModelIndex, Step, engines, prompts};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

fn step(writer: &mut impl IndexWriter, at: f64, step: &Step) {
    match step {
        Step::Apply(worker, events) => drop(writer.apply(*worker, at, events)),
        Step::Clear(worker) => writer.clear(*worker),
        Step::Remove(worker) => writer.remove_worker(*worker),
        Step::SetState(worker, state) => writer.set_state(*worker, *state),
    }
}

fuzz_target!(|bytes: &[u8]| {
    // The bytes are the chance that the engines of the property tests run by.
    let chance = TestRng::from_seed(RngAlgorithm::PassThrough, bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), chance);
    let Ok(steps) = engines().new_tree(&mut runner) else { return };
    let steps = steps.current();

    let settings = IndexSettings::default().with_block_size(2).with_key(HashKey::from_bytes([7; 32]));
    let (mut writer, reader) = ExactIndex::new(settings);
    let mut model = ModelIndex::new(settings);
    for (at, now) in steps.iter().enumerate() {
        step(&mut writer, at as f64, now);
        step(&mut model, at as f64, now);
    }
    for worker in (0..3).map(WorkerId) {
        let (mut held, mut truth) = (writer.residents(worker), model.residents(worker));
        held.sort_unstable();
        truth.sort_unstable();
        assert_eq!(held, truth, "{worker}");
        assert_eq!(reader.state(worker), model.state(worker), "{worker}");
    }
    for prompt in prompts(reader.hasher()) {
        let (held, truth) = (reader.query(&prompt), model.query(&prompt));
        let workers = |overlap: &llmd_core::index::Overlap| -> Vec<_> {
            overlap.into_iter().map(|held| (held.worker, held.leading, held.leading_by_medium)).collect()
        };
        assert_eq!(workers(&held), workers(&truth), "{prompt:?}");
    }
});
