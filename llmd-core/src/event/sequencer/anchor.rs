//! Where a sequencer stands, to be kept and taken up again by another process.

use std::time::Duration;

use super::applied::Applied;
use super::{Sequencer, SequencerSettings};

/// Where a sequencer stands: what it takes to find out later what was missed, and whether the engine is still the same.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Anchor {
    /// The number and the fingerprint of the last batch that was applied since everything was last forgotten.
    pub last: Option<(u64, u64)>,
    /// The fingerprint of batch 0, if it was applied, by which another engine is known from its first word.
    pub first: Option<u64>,
    /// The newest time at which the engine made one of them, on the engine's clock.
    pub newest: Option<Duration>,
    /// Whether no block can be resident that was stored before the first batch that is known.
    pub complete: bool,
    /// Whether the first batches are known to be out of reach.
    pub forgotten: bool,
    /// Whether blocks beyond the GPU were ever spoken of.
    pub offloads: bool,
}

impl<B> Sequencer<B> {
    /// Where it stands, once all steps are carried out. What waits for its turn is no part of it.
    pub fn anchor(&self) -> Anchor {
        let Self { complete, forgotten, offloads, .. } = *self;
        let (last, first, newest) = (self.applied.last(), self.applied.first(), self.applied.newest());
        Anchor { last, first, newest, complete, forgotten, offloads }
    }

    /// The sequencer of a worker of which everything up to `anchor` is known.
    ///
    /// It is [`Recovering`](crate::index::WorkerState::Recovering) until the engine proves to be the same one: by the
    /// anchor, which it sends again when it is asked for replay or goes on live from there. An engine without replay
    /// whose numbers merely go on behind the anchor is kept, and approximate.
    pub fn resumed(settings: SequencerSettings, anchor: Anchor) -> Self {
        let Anchor { last, first, newest, complete, forgotten, offloads } = anchor;
        let known = last.is_some();
        Self {
            applied: last.map_or_else(Applied::default, |last| Applied::up_to(last, first, newest)),
            complete: known && complete,
            forgotten: known && forgotten,
            offloads,
            latest: newest.zip(last).map(|(newest, (seq, _))| (newest, seq)),
            ..Self::new(settings)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Numbered, Step};
    use super::*;
    use crate::state::WorkerState::{Approximate, Exact, Recovering};

    const START: Duration = Duration::from_secs(100);
    const FIRST: u64 = 0xaaaa;
    const SECOND: u64 = 0xbbbb;

    fn batch(seq: u64, life: u64) -> Numbered<u64> {
        Numbered::new(seq, seq ^ life, seq)
    }

    /// Batches 0 to 4 are applied, without a gap.
    fn anchor() -> Anchor {
        let mut before = sequencer(false, Anchor::default());
        (0..5).for_each(|seq| before.live(START, batch(seq, FIRST)));
        assert_eq!(before.state(), Exact);
        before.anchor()
    }

    fn sequencer(replay: bool, anchor: Anchor) -> Sequencer<u64> {
        Sequencer::resumed(SequencerSettings { replay, ..SequencerSettings::default() }, anchor)
    }

    fn applied(sequencer: &mut Sequencer<u64>) -> (Vec<u64>, bool) {
        let (mut applied, mut cleared) = (Vec::new(), false);
        while let Some(step) = sequencer.next_step() {
            match step {
                Step::Apply { batch, .. } => applied.push(batch),
                Step::Clear => cleared = true,
                Step::Replay { .. } | Step::State(_) => {}
            }
        }
        (applied, cleared)
    }

    fn asked(sequencer: &mut Sequencer<u64>) -> super::super::ReplayId {
        sequencer.connected(START);
        let Some(Step::Replay { id, from: 4 }) = sequencer.next_step() else { panic!("no replay from the anchor") };
        id
    }

    #[test]
    fn what_was_kept_is_what_is_taken_up() {
        assert_eq!(sequencer(true, anchor()).anchor(), anchor());
        assert_eq!((sequencer(true, anchor()).state(), sequencer(true, anchor()).last_seq()), (Recovering, Some(4)));
        let expected = Anchor { last: Some((4, 4 ^ FIRST)), first: Some(FIRST), complete: true, ..Anchor::default() };
        assert_eq!(anchor(), expected);
    }

    #[test]
    fn the_same_engine_proves_itself_by_replay() {
        let mut sequencer = sequencer(true, anchor());
        let id = asked(&mut sequencer);
        (4..7).for_each(|seq| sequencer.replayed(START, id, batch(seq, FIRST)));
        sequencer.replay_ended(START, id);
        assert_eq!((applied(&mut sequencer), sequencer.state()), ((vec![5, 6], false), Exact));
    }

    #[test]
    fn another_engine_is_found_out_by_replay() {
        let mut sequencer = sequencer(true, anchor());
        let id = asked(&mut sequencer);
        sequencer.replayed(START, id, batch(4, SECOND));
        assert_eq!((applied(&mut sequencer), sequencer.state()), ((vec![], true), Recovering));
    }

    #[test]
    fn without_replay_the_anchor_itself_is_proof_and_a_number_is_not() {
        let mut same = sequencer(false, anchor());
        same.live(START, batch(4, FIRST));
        same.live(START, batch(5, FIRST));
        assert_eq!((applied(&mut same), same.state()), ((vec![5], false), Exact));

        let mut unknown = sequencer(false, anchor());
        unknown.live(START, batch(5, SECOND));
        assert_eq!((applied(&mut unknown), unknown.state()), ((vec![5], false), Approximate));

        let mut gap = sequencer(false, anchor());
        gap.live(START, batch(6, FIRST));
        assert_eq!((applied(&mut gap), gap.state()), ((vec![6], true), Approximate));
    }

    #[test]
    fn an_anchor_without_a_batch_vouches_for_nothing() {
        let nothing = Anchor { last: None, complete: true, forgotten: true, offloads: true, ..anchor() };
        let taken_up = sequencer(true, nothing).anchor();
        assert_eq!(taken_up, Anchor { offloads: true, ..Anchor::default() });
    }
}
