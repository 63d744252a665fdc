use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::TokenId;
use crate::hash::{BlockHasher, HashKey, Namespace};
use crate::index::{Overlap, WorkerOverlap};

const W: WorkerId = WorkerId(3);

/// A chain of one token per block.
fn chain(tokens: impl IntoIterator<Item = TokenId>) -> Chain {
    let hasher = BlockHasher::new(HashKey::from_bytes([7; 32]), 1);
    hasher.chain(&tokens.into_iter().collect::<Vec<_>>(), &Namespace::default())
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn expected() -> Expected {
    Expected::new(ExpectedSettings::default())
}

#[test]
fn a_prompt_is_expected_where_it_was_sent_until_its_deadline() {
    let expected = expected();
    expected.expect(W, &chain([1, 2, 3]), 0, at(0), at(2000));

    let leading = |tokens: &[TokenId], now| expected.leading(W, &chain(tokens.iter().copied()), 0, at(now));
    assert_eq!(leading(&[1, 2, 9, 9], 1999), 2);
    assert_eq!(leading(&[1, 2, 3, 4], 1999), 3);
    assert_eq!(leading(&[9, 2, 3], 1999), 0);
    assert_eq!(leading(&[], 1999), 0);
    assert_eq!(leading(&[1, 2, 3], 2000), 0);
    assert_eq!(expected.leading(WorkerId(4), &chain([1, 2, 3]), 0, at(0)), 0, "another worker");
}

#[test]
fn what_is_held_goes_on_through_what_is_expected() {
    let expected = expected();
    let long = chain(0..100);
    expected.expect(W, &long, 40, at(0), at(10));
    expected.expect(W, &chain(0..60), 20, at(0), at(20));

    for held in [0, 19, 39] {
        assert_eq!(expected.leading(W, &long, held, at(0)), if held < 20 { held } else { 100 }, "{held} are held");
    }
    assert_eq!(expected.leading(W, &long, 20, at(0)), 100, "one prompt leads to the other");
    assert_eq!(expected.leading(W, &long, 100, at(0)), 100);
    assert_eq!(expected.leading(W, &long, 30, at(10)), 60, "the longer one has ended");
    assert_eq!(expected.leading(W, &long, 70, at(10)), 70);
}

#[test]
fn every_worker_that_is_expected_to_hold_more_is_told_of() {
    let (expected, long) = (expected(), chain(0..5));
    expected.expect(WorkerId(1), &long, 2, at(0), at(10));
    expected.expect(WorkerId(64 + 1), &chain(0..3), 0, at(0), at(10));
    expected.expect(WorkerId(2), &chain([9]), 0, at(0), at(10));
    let mut overlap = Overlap::default();
    let held = |worker, leading| WorkerOverlap { leading, ..WorkerOverlap::none(WorkerId(worker)) };
    overlap.fill([held(1, 2), held(2, 4)]);

    let told = |now| {
        let mut told = Vec::new();
        expected.extend(&long, &overlap, now, &mut |worker, leading| told.push((worker.0, leading)));
        told.sort_unstable();
        told
    };
    assert_eq!(told(at(0)), [(1, 5), (65, 3)]);
    assert_eq!(told(at(10)), []);
}

#[test]
fn a_prompt_that_is_held_already_is_not_expected() {
    let expected = expected();
    expected.expect(W, &chain(0..5), 5, at(0), at(10));
    expected.expect(W, &chain([]), 0, at(0), at(10));
    assert!(expected.is_empty());
}

#[test]
fn beyond_a_limit_the_oldest_is_dropped_and_counted() {
    let limits = [ExpectedSettings::default().with_max_prompts(4), ExpectedSettings::default().with_max_blocks(4)];
    for settings in limits {
        let expected = Expected::new(settings);
        for token in 0..=4 {
            expected.expect(W, &chain([token]), 0, at(u64::from(token)), at(2000));
        }
        assert_eq!((expected.len(), expected.dropped()), (4, 1));
        assert_eq!(expected.leading(W, &chain([0]), 0, at(5)), 0);
        assert_eq!(expected.leading(W, &chain([1]), 0, at(5)), 1);
    }
}

#[test]
fn what_has_ended_gives_back_its_memory_and_is_not_counted_as_dropped() {
    let expected = expected();
    expected.expect(W, &chain(0..40), 0, at(0), at(10));
    expected.expect(WorkerId(W.0 + 1), &chain(0..40), 0, at(0), at(20));
    expected.expect(W, &chain(100..140), 0, at(10), at(10));
    assert_eq!(expected.len(), 2, "a neighbour's that has ended goes too");

    expected.expire(at(20));
    assert!(expected.is_empty());
    assert_eq!((expected.blocks.load(Ordering::Relaxed), expected.dropped()), (0, 0));
}

#[test]
fn of_a_forgotten_worker_nothing_is_expected() {
    let expected = expected();
    let neighbour = WorkerId(W.0 + SHARDS as u32);
    for worker in [W, neighbour, W] {
        expected.expect(worker, &chain(0..40), 0, at(0), at(10));
    }
    expected.forget(W);
    assert_eq!(expected.leading(W, &chain(0..40), 0, at(0)), 0);
    assert_eq!(expected.leading(neighbour, &chain(0..40), 0, at(0)), 40);
    assert_eq!(expected.len(), 1);
}

#[test]
fn any_thread_may_expect_and_ask() {
    let (expected, start) = (expected(), Barrier::new(4));
    thread::scope(|scope| {
        for thread in 0..4 {
            let (expected, start) = (&expected, &start);
            scope.spawn(move || {
                start.wait();
                for n in 0..200 {
                    let mine = chain([thread, n, 1, 2]);
                    expected.expect(WorkerId(n % 5), &mine, 0, at(0), at(10));
                    assert_eq!(expected.leading(WorkerId(n % 5), &mine, 0, at(9)), 4, "its own is seen at once");
                }
            });
        }
    });
    assert_eq!((expected.len(), expected.dropped()), (800, 0));
    expected.expire(at(10));
    assert_eq!((expected.len(), expected.blocks.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn limits_hold_and_nothing_is_counted_twice_while_threads_expect_forget_and_expire() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 300;
    let settings = ExpectedSettings::default().with_max_prompts(64).with_max_blocks(300);
    let (expected, start) = (Expected::new(settings), Barrier::new(THREADS as usize));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (expected, start) = (&expected, &start);
            scope.spawn(move || {
                start.wait();
                for n in 0..ROUNDS {
                    // Every third worker shares a shard with another.
                    let worker = WorkerId(n % 3 + thread % 2 * SHARDS as u32);
                    let (now, deadline) = (at(u64::from(n)), at(u64::from(n + n % 7)));
                    let prompt = chain((0..n % 40).map(|nth| nth + thread % 2 * 1000));
                    let held = n % 3;
                    expected.expect(worker, &prompt, held, now, deadline);
                    let leading = expected.leading(worker, &prompt, held, now) as usize;
                    assert!((held as usize..=prompt.blocks().len().max(held as usize)).contains(&leading), "{leading}");
                    match n % 50 {
                        17 => expected.forget(worker),
                        34 => expected.expire(now),
                        _ => {}
                    }
                }
            });
        }
    });
    assert!(expected.dropped() > 0, "the limits were reached");
    assert!(expected.len() <= 64 && expected.blocks.load(Ordering::Relaxed) <= 300, "{expected:?}");
    expected.expire(at(10_000));
    assert_eq!((expected.len(), expected.blocks.load(Ordering::Relaxed)), (0, 0));
    assert!(
        expected.shards.iter().all(|shard| shard.read().workers().next().is_none()),
        "no worker is kept for nothing"
    );
}

/// The same as a list of blocks.
#[derive(Default)]
struct Model(Vec<(WorkerId, crate::BlockHash, usize, Duration)>);

impl Model {
    fn expect(&mut self, worker: WorkerId, chain: &Chain, from: u32, deadline: Duration) {
        let blocks = chain.blocks().iter().copied().enumerate().skip(from as usize);
        self.0.extend(blocks.map(|(place, block)| (worker, block, place, deadline)));
    }

    fn leading(&self, worker: WorkerId, chain: &Chain, held: u32, now: Duration) -> u32 {
        let is_expected = |place: &usize| {
            self.0.iter().any(|&(who, block, at, deadline)| {
                (who, at) == (worker, *place) && block == chain.blocks()[*place] && now < deadline
            })
        };
        held + (held as usize..chain.blocks().len()).take_while(is_expected).count() as u32
    }
}

/// A prompt of up to 50 blocks that leaves the common trunk at one of a few places.
fn prompts() -> impl Strategy<Value = Chain> {
    (0..3_u32, 0..50_u32, 0..50_u32).prop_map(|(branch, leaves, len)| {
        chain((0..len).map(|place| if place < leaves / 10 * 10 { place } else { place + 100 * branch }))
    })
}

#[derive(Clone, Debug)]
enum Step {
    Expect { from: u32, ttl: u64 },
    Forget,
    Expire,
}

fn steps() -> impl Strategy<Value = Vec<(u32, Chain, u64, Step)>> {
    let step = prop_oneof![
        20 => (0..50_u32, 0..6_u64).prop_map(|(from, ttl)| Step::Expect { from, ttl }),
        1 => Just(Step::Forget),
        2 => Just(Step::Expire),
    ];
    proptest::collection::vec((prop_oneof![0..3_u32, 64..66_u32], prompts(), 0..2_u64, step), 0..40)
}

proptest! {
    /// Marks and bisection find what a look at every block finds.
    #[test]
    fn a_prefix_goes_on_as_in_the_model(steps in steps(), held in 0..50_u32) {
        let (expected, mut model, mut now) = (expected(), Model::default(), at(0));
        for (worker, chain, later, step) in steps {
            let worker = WorkerId(worker);
            now += at(later);
            match step {
                Step::Expect { from, ttl } => {
                    let from = from.min(chain.blocks().len() as u32);
                    expected.expect(worker, &chain, from, now, at(ttl));
                    model.expect(worker, &chain, from, now + at(ttl));
                }
                Step::Forget => {
                    expected.forget(worker);
                    model.0.retain(|&(who, ..)| who != worker);
                }
                Step::Expire => {
                    expected.expire(now);
                    model.0.retain(|&(.., deadline)| deadline > now);
                }
            }
            for held in [0, held.min(chain.blocks().len() as u32)] {
                for worker in [0, 1, 2, 64, 65].map(WorkerId) {
                    prop_assert_eq!(
                        expected.leading(worker, &chain, held, now),
                        model.leading(worker, &chain, held, now)
                    );
                }
            }
        }
        expected.expire(now + at(100));
        prop_assert_eq!((expected.len(), expected.blocks.load(Ordering::Relaxed)), (0, 0));
    }
}
