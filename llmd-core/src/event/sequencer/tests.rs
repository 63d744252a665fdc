use std::time::Duration;

use super::{Numbered, ReplayId, Sequencer, SequencerSettings, Step};
use crate::state::WorkerState::{Approximate, Exact, Recovering};

const START: Duration = Duration::from_secs(100);
const SECOND: Duration = Duration::from_secs(1);

type Steps = Vec<Step<&'static str>>;

/// The batch of this number from an engine's first life.
fn batch(seq: u64) -> Numbered<&'static str> {
    Numbered::new(seq, 1000 + seq, "first life")
}

/// The batch of this number after a restart.
fn reborn(seq: u64) -> Numbered<&'static str> {
    Numbered::new(seq, 2000 + seq, "second life")
}

fn steps(sequencer: &mut Sequencer<&'static str>) -> Steps {
    std::iter::from_fn(|| sequencer.next_step()).collect()
}

fn applied(steps: &Steps) -> Vec<u64> {
    steps.iter().filter_map(|step| if let Step::Apply { seq, .. } = step { Some(*seq) } else { None }).collect()
}

/// The replay that these steps end in asking for.
fn asked(steps: &Steps) -> (ReplayId, u64) {
    let replay = steps
        .iter()
        .rev()
        .find_map(|step| if let Step::Replay { id, from } = step { Some((*id, *from)) } else { None });
    replay.expect("a replay is asked for")
}

fn asks(steps: &Steps) -> bool {
    steps.iter().any(|step| matches!(step, Step::Replay { .. }))
}

fn without_replay() -> Sequencer<&'static str> {
    let mut sequencer = Sequencer::new(SequencerSettings { replay: false, ..SequencerSettings::default() });
    sequencer.connected(START);
    sequencer
}

/// Connected, exact, with batches 0 to `last` applied.
fn exact(last: u64) -> Sequencer<&'static str> {
    let mut sequencer = Sequencer::new(SequencerSettings::default());
    sequencer.connected(START);
    let (id, from) = asked(&steps(&mut sequencer));
    assert_eq!(from, 0);
    (0..=last).for_each(|seq| sequencer.replayed(START, id, batch(seq)));
    sequencer.replay_ended(START, id);
    assert_eq!(sequencer.state(), Exact);
    assert_eq!(applied(&steps(&mut sequencer)), (0..=last).collect::<Vec<_>>());
    sequencer
}

#[test]
fn a_worker_that_was_never_heard_of_is_recovering() {
    let sequencer = Sequencer::<()>::new(SequencerSettings::default());
    assert_eq!((sequencer.state(), sequencer.next_deadline()), (Recovering, None));
}

#[test]
fn the_next_batch_is_applied_and_one_that_comes_again_is_not() {
    let mut sequencer = exact(3);
    sequencer.live(START, batch(4));
    sequencer.live(START, batch(4));
    sequencer.live(START, batch(2));
    assert_eq!(steps(&mut sequencer), [Step::Apply { seq: 4, batch: "first life" }]);
    assert_eq!(sequencer.counts().duplicates, 2);
}

#[test]
fn what_has_the_number_that_ends_a_replay_is_no_batch() {
    let end = Numbered::new(u64::MAX, 7, "no life");
    let mut sequencer = exact(3);
    sequencer.live(START, end);
    assert!(!sequencer.heard(START, end));
    sequencer.connected(START);
    let (id, _) = asked(&steps(&mut sequencer));
    sequencer.replayed(START, id, end);
    assert_eq!((sequencer.last_seq(), sequencer.counts().dropped), (Some(3), 3));

    let mut sequencer = without_replay();
    sequencer.live(START, end);
    assert_eq!((applied(&steps(&mut sequencer)), sequencer.counts().dropped), (vec![], 1));
}

#[test]
fn an_engine_that_has_said_nothing_is_known_exactly() {
    let mut sequencer = Sequencer::<&str>::new(SequencerSettings::default());
    sequencer.connected(START);
    let (id, _) = asked(&steps(&mut sequencer));
    sequencer.replay_ended(START, id);
    assert_eq!(steps(&mut sequencer), [Step::State(Exact)]);
    sequencer.live(START, batch(0));
    assert_eq!(applied(&steps(&mut sequencer)), [0]);
}

#[test]
fn who_comes_late_but_finds_the_first_batch_is_exact() {
    let mut sequencer = Sequencer::new(SequencerSettings::default());
    sequencer.connected(START);
    let (id, _) = asked(&steps(&mut sequencer));
    sequencer.live(START, batch(2));
    sequencer.replayed(START, id, batch(0));
    sequencer.replayed(START, id, batch(1));
    assert_eq!(sequencer.state(), Recovering);
    sequencer.replay_ended(START, id);
    assert_eq!((applied(&steps(&mut sequencer)), sequencer.state()), (vec![0, 1, 2], Exact));
}

#[test]
fn who_comes_too_late_is_approximate_until_the_cache_is_cleared() {
    let mut sequencer = Sequencer::new(SequencerSettings::default());
    sequencer.connected(START);
    let (id, _) = asked(&steps(&mut sequencer));
    sequencer.replayed(START, id, batch(7));
    sequencer.replay_ended(START, id);
    assert_eq!((applied(&steps(&mut sequencer)), sequencer.state()), (vec![7], Approximate));
    sequencer.live(START, batch(8).clearing_gpu(true));
    assert_eq!(sequencer.state(), Exact);
}

#[test]
fn clearing_the_gpu_says_nothing_of_what_was_offloaded() {
    let mut sequencer = Sequencer::new(SequencerSettings::default());
    sequencer.connected(START);
    let (id, _) = asked(&steps(&mut sequencer));
    sequencer.replayed(START, id, batch(7).beyond_gpu(true));
    sequencer.replay_ended(START, id);
    sequencer.live(START, batch(8).clearing_gpu(true));
    assert_eq!(sequencer.state(), Approximate);
}

#[test]
fn what_cannot_be_read_is_a_loss_until_the_cache_is_cleared() {
    let mut sequencer = exact(3);
    sequencer.live(START, batch(4).unreadable(true));
    assert_eq!(sequencer.state(), Approximate);
    sequencer.live(START, batch(5).clearing_gpu(true));
    assert_eq!(sequencer.state(), Exact);
}

#[test]
fn a_gap_is_filled_in_order() {
    let mut sequencer = exact(3);
    sequencer.live(START, batch(6));
    sequencer.live(START, batch(7));
    let gap = steps(&mut sequencer);
    let (id, from) = asked(&gap);
    assert_eq!((from, sequencer.state(), applied(&gap)), (3, Recovering, vec![]));
    (3..=6).for_each(|seq| sequencer.replayed(START, id, batch(seq)));
    sequencer.replay_ended(START, id);
    assert_eq!(applied(&steps(&mut sequencer)), [4, 5, 6, 7]);
    assert_eq!((sequencer.state(), sequencer.counts().gaps, sequencer.counts().restarts), (Exact, 1, 0));
}

#[test]
fn a_gap_that_the_engine_has_forgotten_costs_everything_before_it() {
    let mut sequencer = exact(3);
    sequencer.live(START, batch(30));
    let (id, _) = asked(&steps(&mut sequencer));
    sequencer.replayed(START, id, batch(29));
    sequencer.replayed(START, id, batch(30));
    sequencer.replay_ended(START, id);
    let steps = steps(&mut sequencer);
    assert_eq!(steps[0], Step::Clear);
    assert_eq!((applied(&steps), sequencer.state()), (vec![29, 30], Approximate));
}

#[test]
fn more_than_may_wait_is_dropped_and_asked_for_again() {
    let mut sequencer = exact(0);
    sequencer.settings.max_waiting = 2;
    (2..=6).for_each(|seq| sequencer.live(START, batch(seq)));
    assert_eq!(sequencer.counts().dropped, 3);
    let (id, _) = asked(&steps(&mut sequencer));
    sequencer.replayed(START, id, batch(0));
    sequencer.replayed(START, id, batch(1));
    sequencer.replay_ended(START, id);
    let second = steps(&mut sequencer);
    assert_eq!((applied(&second), asked(&second).1), (vec![1, 2, 3], 3));
    (3..=6).for_each(|seq| sequencer.replayed(START, asked(&second).0, batch(seq)));
    sequencer.replay_ended(START, asked(&second).0);
    assert_eq!((applied(&steps(&mut sequencer)), sequencer.state()), (vec![4, 5, 6], Exact));
}

#[test]
fn a_quiet_stream_is_probed_and_a_lost_tail_comes_back() {
    let mut sequencer = exact(3);
    let due = sequencer.next_deadline().unwrap();
    assert_eq!(due, START + sequencer.settings.probe_after);
    sequencer.tick(due);
    let (id, from) = asked(&steps(&mut sequencer));
    assert_eq!((from, sequencer.state()), (3, Exact));
    sequencer.replayed(due, id, batch(3));
    sequencer.replayed(due, id, batch(4));
    sequencer.replay_ended(due, id);
    assert_eq!((applied(&steps(&mut sequencer)), sequencer.state()), (vec![4], Exact));
}

#[test]
fn a_probe_that_fails_is_a_doubt_and_at_last_an_approximation_that_keeps_its_blocks() {
    let mut sequencer = exact(3);
    let mut states = Vec::new();
    for _ in 0..sequencer.settings.max_attempts {
        let due = sequencer.next_deadline().unwrap();
        sequencer.tick(due);
        let (id, _) = asked(&steps(&mut sequencer));
        sequencer.replay_failed(due, id);
        states.push(sequencer.state());
        assert!(!steps(&mut sequencer).contains(&Step::Clear));
    }
    assert_eq!(states, [Recovering, Recovering, Approximate]);

    let due = sequencer.next_deadline().unwrap();
    sequencer.tick(due);
    let (id, _) = asked(&steps(&mut sequencer));
    sequencer.replayed(due, id, batch(3));
    sequencer.replay_ended(due, id);
    assert_eq!(sequencer.state(), Exact);
}

#[test]
fn an_engine_that_comes_back_as_it_was_keeps_its_blocks() {
    let mut sequencer = exact(3);
    sequencer.disconnected(START);
    assert_eq!((sequencer.state(), sequencer.next_deadline()), (Exact, Some(START + SECOND)));
    sequencer.tick(START + SECOND);
    assert_eq!(sequencer.state(), Recovering);

    sequencer.connected(START + 2 * SECOND);
    let (id, from) = asked(&steps(&mut sequencer));
    sequencer.live(START + 2 * SECOND, batch(5));
    assert_eq!((from, sequencer.state()), (3, Recovering));
    (3..=5).for_each(|seq| sequencer.replayed(START, id, batch(seq)));
    sequencer.replay_ended(START + 2 * SECOND, id);
    let steps = steps(&mut sequencer);
    assert!(!steps.contains(&Step::Clear));
    assert_eq!((applied(&steps), sequencer.state()), (vec![4, 5], Exact));
}

#[test]
fn a_batch_that_differs_from_what_was_applied_tells_of_a_restart() {
    let mut sequencer = exact(3);
    sequencer.disconnected(START);
    sequencer.connected(START);
    let (id, _) = asked(&steps(&mut sequencer));
    sequencer.replayed(START, id, reborn(3));
    let restart = steps(&mut sequencer);
    assert!(restart.contains(&Step::Clear));
    let (id, from) = asked(&restart);
    assert_eq!(from, 0);
    (0..=4).for_each(|seq| sequencer.replayed(START, id, reborn(seq)));
    sequencer.replay_ended(START, id);
    assert_eq!((applied(&steps(&mut sequencer)), sequencer.state()), (vec![0, 1, 2, 3, 4], Exact));
    assert_eq!(sequencer.counts().restarts, 1);
}

#[test]
fn an_engine_that_has_not_come_as_far_as_the_anchor_was_restarted() {
    let mut sequencer = exact(3);
    sequencer.disconnected(START);
    sequencer.connected(START);
    let (id, _) = asked(&steps(&mut sequencer));
    sequencer.replay_ended(START, id);
    let (id, from) = asked(&steps(&mut sequencer));
    assert_eq!((from, sequencer.state()), (0, Recovering));
    sequencer.replay_ended(START, id);
    assert_eq!((sequencer.state(), sequencer.last_seq(), sequencer.counts().restarts), (Exact, None, 1));
}

#[test]
fn a_number_from_the_past_makes_the_engine_prove_itself() {
    let mut sequencer = exact(3);
    sequencer.live(START, reborn(0));
    let (id, from) = asked(&steps(&mut sequencer));
    assert_eq!((from, sequencer.state()), (3, Recovering));
    sequencer.replay_ended(START, id);
    assert_eq!(asked(&steps(&mut sequencer)).1, 0);
    assert_eq!(sequencer.counts().restarts, 1);
}

#[test]
fn replies_to_an_earlier_replay_are_ignored() {
    let mut sequencer = exact(3);
    sequencer.live(START, batch(6));
    let (old, _) = asked(&steps(&mut sequencer));
    sequencer.connected(START);
    let (new, _) = asked(&steps(&mut sequencer));
    sequencer.replayed(START, old, reborn(3));
    sequencer.replay_ended(START, old);
    sequencer.replay_failed(START, old);
    assert_eq!((steps(&mut sequencer), sequencer.state()), (vec![], Recovering));
    sequencer.replayed(START, new, batch(3));
    sequencer.replay_ended(START, new);
    assert_eq!(sequencer.state(), Exact);
}

#[test]
fn a_replay_that_brings_nothing_is_tried_again_later_each_time() {
    let mut sequencer = exact(3);
    sequencer.live(START, batch(6));
    let (id, _) = asked(&steps(&mut sequencer));
    sequencer.replay_failed(START, id);
    assert_eq!(sequencer.next_deadline(), Some(START + sequencer.settings.backoff));
    sequencer.live(START, batch(7));
    sequencer.tick(START);
    assert!(!asks(&steps(&mut sequencer)));
    sequencer.tick(START + SECOND);
    let (id, _) = asked(&steps(&mut sequencer));
    sequencer.replayed(START + SECOND, id, batch(3));
    sequencer.replay_ended(START + SECOND, id);
    assert_eq!(sequencer.next_deadline(), Some(START + SECOND + 2 * sequencer.settings.backoff));
}

#[test]
fn who_is_never_answered_makes_do_with_the_stream_and_rebuilds_when_answered_at_last() {
    let mut sequencer = exact(3);
    sequencer.live(START, batch(6));
    sequencer.live(START, batch(7));
    let mut made_do = Vec::new();
    for _ in 0..sequencer.settings.max_attempts {
        let (id, _) = asked(&steps(&mut sequencer));
        sequencer.replay_failed(START, id);
        made_do = steps(&mut sequencer);
        sequencer.tick(sequencer.next_deadline().unwrap());
    }
    assert_eq!(made_do[0], Step::Clear);
    assert_eq!((applied(&made_do), sequencer.state()), (vec![6, 7], Approximate));

    let (id, from) = asked(&steps(&mut sequencer));
    assert_eq!(from, 7);
    sequencer.replayed(START, id, batch(7));
    sequencer.replay_ended(START, id);
    let (id, from) = asked(&steps(&mut sequencer));
    assert_eq!(from, 0);
    (0..=7).for_each(|seq| sequencer.replayed(START, id, batch(seq)));
    sequencer.replay_ended(START, id);
    assert_eq!((applied(&steps(&mut sequencer)).len(), sequencer.state()), (8, Exact));
}

#[test]
fn without_replay_a_gap_costs_everything_before_it() {
    let mut sequencer = without_replay();
    sequencer.live(START, batch(0));
    assert_eq!(sequencer.state(), Exact);
    sequencer.live(START, batch(2));
    let steps = steps(&mut sequencer);
    assert!(steps.contains(&Step::Clear) && !asks(&steps));
    assert_eq!((applied(&steps), sequencer.state(), sequencer.counts().gaps), (vec![0, 2], Approximate, 1));
}

#[test]
fn without_replay_who_comes_late_is_approximate_until_a_restart() {
    let mut sequencer = without_replay();
    assert_eq!(sequencer.state(), Approximate);
    sequencer.live(START, batch(5));
    assert_eq!(sequencer.state(), Approximate);
    sequencer.live(START, reborn(0));
    assert_eq!((sequencer.state(), sequencer.counts().restarts), (Exact, 1));
}

#[test]
fn without_replay_a_stream_that_goes_on_after_a_break_is_kept_but_not_trusted() {
    let mut sequencer = without_replay();
    sequencer.live(START, batch(0));
    sequencer.disconnected(START);
    sequencer.connected(START);
    sequencer.live(START, batch(1));
    let steps = steps(&mut sequencer);
    assert!(!steps.contains(&Step::Clear));
    assert_eq!((applied(&steps), sequencer.state()), (vec![0, 1], Approximate));
}
