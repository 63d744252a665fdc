//! What the demo promises, and whether it was kept.

use crate::blocks::BlocksResult;
use crate::fault::FaultResult;
use crate::moved::Moved;
use crate::quiet::QuietResult;
use crate::race::RaceResult;
use crate::report::race::advantage;

/// Round robin must wait at least this many times longer than exact prefix, on average, over the whole trace.
const ADVANTAGE: f64 = 3.0;

/// The promises that were not kept, each in a line that says what was expected.
pub(crate) fn broken(race: &[RaceResult], fault: &FaultResult, quiet: &QuietResult, whole_trace: bool) -> Vec<String> {
    let mut broken = Vec::new();
    let mut promise = |kept: bool, line: String| {
        if !kept {
            broken.push(line);
        }
    };
    for result in race {
        let first = result.first_failure().unwrap_or_default();
        promise(
            result.failed() == 0,
            format!("{}: {} requests failed, expected 0 ({first})", result.policy, result.failed()),
        );
    }
    let factor = advantage(race).unwrap_or(f64::NAN);
    let line = format!("round robin waits {factor:.2} times as long as exact prefix, expected {ADVANTAGE} or more");
    promise(!whole_trace || factor >= ADVANTAGE, line);

    let failed = fault.failed_before_first_byte();
    promise(failed == 0, format!("faults: {failed} requests failed before the first byte, expected 0"));
    for worker in &fault.workers {
        let (name, blocks) = (&worker.name, worker.blocks);
        match &worker.wrong_blocks {
            Ok(wrong) => promise(*wrong == 0, format!("faults: {name}: {wrong} of {blocks} blocks wrong, expected 0")),
            Err(why) => promise(false, format!("faults: {name} never became quiet: {why}")),
        }
    }
    promise(fault.recovery.is_some(), "faults: the restarted engine was never known exactly again".to_owned());

    let wrong = quiet.first_wrong().map_or_else(String::new, |sample| {
        let (id, predicted, tokens) = (&sample.id, sample.predicted, sample.prompt_tokens);
        format!(" ({id}: {predicted} of {tokens} predicted, {:?} reported, {:?})", sample.cached, sample.outcome)
    });
    let error = quiet.error().map_or_else(|| "unknown".to_owned(), |error| error.to_string());
    promise(quiet.error() == Some(0.0), format!("quiet: predictions are off by {error} tokens, expected 0{wrong}"));
    promise(quiet.hits() > 0, "quiet: no request found anything cached".to_owned());
    broken
}

/// The promises about blocks that moved that were not kept.
pub(crate) fn blocks_broken(race: &[RaceResult], blocks: &BlocksResult) -> Vec<String> {
    let mut broken = blocks.broken();
    let moved = all_moved(race, blocks);
    if moved.corrupt_served > 0 {
        broken.push(format!("{} blocks were said to be right and were not, expected 0", moved.corrupt_served));
    }
    for result in race.iter().filter(|result| result.moved.is_some_and(|moved| moved.verified == 0)) {
        broken.push(format!("{}: no block went from engine to engine", result.policy));
    }
    if blocks.moved.verified == 0 {
        broken.push("move blocks: no block came".to_owned());
    }
    broken
}

/// All blocks that moved.
pub(crate) fn all_moved(race: &[RaceResult], blocks: &BlocksResult) -> Moved {
    let mut all = blocks.moved;
    race.iter().filter_map(|result| result.moved).for_each(|moved| all += moved);
    all
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::Outcome;
    use crate::fault::WorkerFate;
    use crate::policy::Policy;
    use crate::race::tests::result;

    /// A demo in which everything went well.
    pub(crate) fn good() -> ([RaceResult; 2], FaultResult, QuietResult) {
        let race = [result(Policy::RoundRobin, 40.0, &[90, 95]), result(Policy::ExactPrefix, 40.0, &[10, 20])];
        let worker = WorkerFate {
            name: "e0".to_owned(),
            fault: "killed and restarted",
            timeline: Vec::new(),
            gaps: 0,
            replays: 2,
            blocks: 9,
            wrong_blocks: Ok(0),
        };
        let samples = race[1].samples.clone();
        let fault = FaultResult { samples, recovery: Some(Duration::from_millis(310)), workers: vec![worker] };
        let mut quiet = QuietResult { samples: race[1].samples.clone(), whole_blocks: 1, salted: 1, adapted: 0 };
        quiet.samples.iter_mut().for_each(|sample| sample.predicted = 45);
        (race, fault, quiet)
    }

    #[test]
    fn nothing_is_said_when_every_promise_is_kept() {
        let (race, fault, quiet) = good();
        assert!(broken(&race, &fault, &quiet, true).is_empty());
    }

    #[test]
    fn every_broken_promise_is_a_line() {
        let (mut race, mut fault, mut quiet) = good();
        race[0] = result(Policy::RoundRobin, 40.0, &[10, 20]);
        race[0].samples[1].outcome = Outcome::Failed("503".to_owned());
        fault.samples[0].outcome = Outcome::Failed("502".to_owned());
        fault.workers[0].wrong_blocks = Ok(2);
        fault.recovery = None;
        quiet.samples[1].predicted = 47;

        expect_test::expect![[r#"
            [
                "round robin: 1 requests failed, expected 0 (round_robin-1: 503)",
                "round robin waits 1.00 times as long as exact prefix, expected 3 or more",
                "faults: 1 requests failed before the first byte, expected 0",
                "faults: e0: 2 of 9 blocks wrong, expected 0",
                "faults: the restarted engine was never known exactly again",
                "quiet: predictions are off by 1 tokens, expected 0 (exact_prefix-1: 47 of 90 predicted, Some(45) reported, Done)",
            ]
        "#]]
        .assert_debug_eq(&broken(&race, &fault, &quiet, true));
        assert_eq!(broken(&race, &fault, &quiet, false).len(), 5, "a short race promises no factor");
    }

    #[test]
    fn a_block_that_was_wrong_or_never_moved_is_a_line() {
        let blocks = crate::blocks::tests::good();
        let mut race = [result(Policy::ExactPrefixPd, 40.0, &[10, 20])];
        race[0].moved = Some(Moved { verified: 3, ..Moved::default() });
        assert!(blocks_broken(&race, &blocks).is_empty());
        assert_eq!(all_moved(&race, &blocks).verified, 2051);

        race[0].moved = Some(Moved { corrupt_served: 1, ..Moved::default() });
        assert_eq!(
            blocks_broken(&race, &blocks),
            [
                "1 blocks were said to be right and were not, expected 0",
                "exact P/D: no block went from engine to engine"
            ]
        );
    }
}
