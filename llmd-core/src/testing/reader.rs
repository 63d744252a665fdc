//! What every index answers alike, whatever it was fed with.

use crate::hash::{Chain, Lora, Namespace};
use crate::index::{Overlap, PrefixIndex};
use crate::{TokenId, WorkerId};

const BLOCK_SIZE: usize = 4;

/// Runs the sentences that every [`PrefixIndex`] must make true.
///
/// `make` gives an index for blocks of so many tokens, and `hold` lets a worker hold a whole prompt, by whatever means
/// the index has of learning it.
///
/// # Panics
///
/// When one is not true.
pub fn reader<R: PrefixIndex>(make: impl Fn(usize) -> R, hold: impl Fn(&R, WorkerId, &[TokenId], &Namespace)) {
    let make = || make(BLOCK_SIZE);
    nothing_is_held_at_first(&make());
    a_prompt_is_found_as_far_as_it_is_the_same(&make(), &hold);
    a_rest_that_fills_no_block_is_not_held(&make(), &hold);
    workers_are_told_apart(&make(), &hold);
    adapters_and_salts_are_told_apart(&make(), &hold);
    an_answer_replaces_the_one_before(&make(), &hold);
    many_workers_are_answered_as_each_by_itself(&make(), &hold);
    an_explanation_says_what_a_query_says(&make(), &hold);
}

/// The tokens of `blocks` full blocks that all begin alike and differ by `seed` from block `same` on.
fn prompt(blocks: u32, same: u32, seed: u32) -> Vec<TokenId> {
    (0..blocks).flat_map(|block| [block, if block < same { 0 } else { seed }, 8, 9]).collect()
}

fn chain(index: &impl PrefixIndex, tokens: &[TokenId]) -> Chain {
    index.hasher().chain(tokens, &Namespace::default())
}

fn nothing_is_held_at_first(index: &impl PrefixIndex) {
    assert_eq!(index.hasher().block_size(), BLOCK_SIZE);
    assert!(index.query(&chain(index, &prompt(3, 0, 1))).is_empty());
    assert!(index.query(&chain(index, &[])).is_empty());
    assert!(index.explain(&chain(index, &prompt(3, 0, 1))).workers.is_empty());
}

fn a_prompt_is_found_as_far_as_it_is_the_same<R: PrefixIndex>(
    index: &R,
    hold: impl Fn(&R, WorkerId, &[TokenId], &Namespace),
) {
    hold(index, WorkerId(3), &prompt(4, 0, 1), &Namespace::default());
    for same in 0..=4 {
        let overlap = index.query(&chain(index, &[&prompt(4, 0, 1)[..same * BLOCK_SIZE], &prompt(6, 0, 2)].concat()));
        assert_eq!(overlap.leading(WorkerId(3)) as usize, same);
        assert_eq!(overlap.len(), usize::from(same > 0), "who holds nothing is left out");
    }
    assert_eq!(index.query(&chain(index, &prompt(2, 0, 1))).leading(WorkerId(3)), 2, "a shorter prompt is held whole");
}

fn a_rest_that_fills_no_block_is_not_held<R: PrefixIndex>(
    index: &R,
    hold: impl Fn(&R, WorkerId, &[TokenId], &Namespace),
) {
    let tokens = &prompt(3, 0, 1)[..2 * BLOCK_SIZE + 1];
    hold(index, WorkerId(0), tokens, &Namespace::default());
    let chain = chain(index, tokens);
    assert_eq!(index.query(&chain).leading(WorkerId(0)), 2);
    assert_eq!(chain.hit_tokens(2), 2 * BLOCK_SIZE);
}

fn workers_are_told_apart<R: PrefixIndex>(index: &R, hold: impl Fn(&R, WorkerId, &[TokenId], &Namespace)) {
    for worker in [5, 1, 3, 0] {
        hold(index, WorkerId(worker), &prompt(6, worker, 7), &Namespace::default());
    }
    let overlap = index.query(&chain(index, &prompt(6, 6, 0)));
    let leading: Vec<_> = overlap.iter().map(|overlap| (overlap.worker.0, overlap.leading)).collect();
    assert_eq!(leading, [(1, 1), (3, 3), (5, 5)], "each as far as it holds it, by id");
}

fn adapters_and_salts_are_told_apart<R: PrefixIndex>(index: &R, hold: impl Fn(&R, WorkerId, &[TokenId], &Namespace)) {
    let plain = Namespace::default();
    let namespaces = [
        plain.clone(),
        plain.clone().with_lora(Lora::new("a")),
        plain.clone().with_lora(Lora::new("b")),
        plain.clone().with_cache_salt("a"),
        plain.with_lora(Lora::new("a")).with_cache_salt("a"),
    ];
    let tokens = prompt(3, 0, 1);
    for (worker, namespace) in (0..).map(WorkerId).zip(&namespaces) {
        hold(index, worker, &tokens, namespace);
    }
    for (worker, namespace) in (0..).map(WorkerId).zip(&namespaces) {
        let overlap = index.query(&index.hasher().chain(&tokens, namespace));
        let holders: Vec<_> = overlap.iter().map(|overlap| (overlap.worker, overlap.leading)).collect();
        assert_eq!(holders, [(worker, 3)], "{namespace:?}");
    }
}

fn many_workers_are_answered_as_each_by_itself<R: PrefixIndex>(
    index: &R,
    hold: impl Fn(&R, WorkerId, &[TokenId], &Namespace),
) {
    for worker in [0, 3, 70] {
        hold(index, WorkerId(worker), &prompt(worker % 5 + 1, 9, 1), &Namespace::default());
    }
    let workers = || (0..80).map(WorkerId);
    let (mut states, mut overlap) = (vec![Default::default()], index.query(&chain(index, &prompt(5, 9, 1))));
    index.states_into(&mut workers(), &mut states);
    assert_eq!(states, workers().map(|worker| index.state(worker)).collect::<Vec<_>>());
    let each: Vec<_> = workers().map(|worker| overlap.get(worker)).collect();
    overlap.spread();
    assert_eq!(workers().map(|worker| overlap.get(worker)).collect::<Vec<_>>(), each);
    index.query_into(&chain(index, &prompt(2, 0, 9)), &mut overlap);
    assert!(overlap.is_empty(), "the next answer replaces it");
}

fn an_answer_replaces_the_one_before<R: PrefixIndex>(index: &R, hold: impl Fn(&R, WorkerId, &[TokenId], &Namespace)) {
    hold(index, WorkerId(0), &prompt(3, 0, 1), &Namespace::default());
    hold(index, WorkerId(1), &prompt(3, 0, 2), &Namespace::default());
    let mut overlap = Overlap::default();
    for (seed, worker) in [(1, WorkerId(0)), (2, WorkerId(1))] {
        index.query_into(&chain(index, &prompt(3, 0, seed)), &mut overlap);
        assert_eq!(overlap, index.query(&chain(index, &prompt(3, 0, seed))));
        assert_eq!((overlap.len(), overlap.leading(worker)), (1, 3));
    }
    index.query_into(&chain(index, &prompt(3, 0, 3)), &mut overlap);
    assert!(overlap.is_empty());
}

fn an_explanation_says_what_a_query_says<R: PrefixIndex>(
    index: &R,
    hold: impl Fn(&R, WorkerId, &[TokenId], &Namespace),
) {
    hold(index, WorkerId(0), &prompt(4, 2, 1), &Namespace::default());
    hold(index, WorkerId(1), &prompt(4, 0, 1), &Namespace::default());
    let chain = chain(index, &prompt(4, 4, 0));
    let explained = index.explain(&chain);

    assert_eq!((explained.blocks, explained.block_size), (4, BLOCK_SIZE));
    assert_eq!(explained.workers.len(), 2, "one that holds nothing is explained too");
    for worker in &explained.workers {
        assert_eq!(worker.overlap.leading, index.query(&chain).leading(worker.worker()));
        assert_eq!(worker.state, index.state(worker.worker()));
        assert!(worker.next.is_some(), "a block is missing");
    }
    let mine = index.hasher().chain(&prompt(4, 2, 1), &Namespace::default());
    assert_eq!(index.explain(&mine).get(WorkerId(0)).expect("it is known").next, None, "no block is missing");
    assert!(explained.to_string().contains("worker 0"));
}
