//! Prefixes that are looked up while blocks come and go.

use std::sync::{Arc, Mutex};

use super::super::name::Namer;
use super::super::store::{At, Batch};
use super::super::walk::{Levels, Walk};
use super::super::{Column, Span, View};
use super::explore;
use crate::BlockHash;

/// A column for each worker: more than are in a set without a bitmap.
const COLUMNS: usize = 5;

struct Writer {
    span: Span,
    namers: [Namer; COLUMNS],
}

struct Shared {
    writer: Mutex<Writer>,
    view: Arc<View>,
}

impl Writer {
    /// The blocks of these digests are held from the start of the prompt on, under names that are their digests.
    fn store(&mut self, column: Column, digests: &[u64]) {
        let blocks: Vec<_> = digests.iter().copied().map(BlockHash).collect();
        let batch = Batch { digests: &blocks, names: digests, span: 1 };
        let start = At { place: None, before: 0, depth: 0 };
        let stored = self.span.store(column, &mut self.namers[usize::from(column)], start, batch);
        assert_eq!(stored.lost, 0);
    }

    fn remove(&mut self, column: Column, name: u64) {
        let namer = &self.namers[usize::from(column)];
        let (copies, _) = self.span.remove(column, namer, 1, |_| 1, &[name], &mut None, |_| {}, |_| {});
        assert_eq!(copies, 1);
    }
}

impl Shared {
    /// Some columns hold some blocks.
    fn holding(held: &[(Column, &[u64])]) -> Self {
        let mut span = Span::new(1);
        let namers = std::array::from_fn(|worker| {
            let column = span.column(worker as u32, false).expect("there are few");
            Namer { columns: [column].into_iter().collect(), ..Namer::default() }
        });
        let view = span.view();
        let mut writer = Writer { span, namers };
        held.iter().for_each(|&(column, digests)| writer.store(column, digests));
        Self { writer: Mutex::new(writer), view }
    }

    /// The writer's own; no other thread takes it.
    fn write(&self, work: impl FnOnce(&mut Writer)) {
        work(&mut self.writer.try_lock().expect("there is one writer"));
    }

    /// How many leading blocks each column holds.
    fn leading(&self, digests: &[u64]) -> [u32; COLUMNS] {
        let digests: Vec<_> = digests.iter().copied().map(BlockHash).collect();
        let (mut levels, mut walk) = (Levels::default(), Walk::default());
        self.view.walk(&digests, &[(1 << COLUMNS) - 1], None, &mut levels, &mut walk);
        std::array::from_fn(|column| levels.of(column as Column))
    }
}

#[test]
fn a_new_run_is_there_or_not() {
    let write = |shared: &Shared| shared.write(|writer| writer.store(0, &[10, 11]));
    let orders = explore(
        3,
        || Shared::holding(&[]),
        write,
        |shared| {
            let [first, others @ ..] = shared.leading(&[10, 11, 12]);
            assert!(first == 0 || first == 2, "{first}");
            assert_eq!(others, [0; 4]);
        },
    );
    assert!(orders > 10, "{orders}");
}

#[test]
fn a_run_that_becomes_longer_is_as_long_as_it_was_or_is() {
    let write = |shared: &Shared| shared.write(|writer| writer.store(0, &[10, 11]));
    let orders = explore(
        1,
        || Shared::holding(&[(0, &[10])]),
        write,
        |shared| {
            let [first, others @ ..] = shared.leading(&[10, 11, 12]);
            assert!(first == 1 || first == 2, "{first}");
            assert_eq!(others, [0; 4]);
        },
    );
    assert!(orders > 1000, "{orders}");
}

#[test]
fn who_goes_on_behind_another_is_seen_step_by_step() {
    let write = |shared: &Shared| shared.write(|writer| writer.store(1, &[10, 11]));
    let orders = explore(
        1,
        || Shared::holding(&[(0, &[10])]),
        write,
        |shared| {
            let [first, second, others @ ..] = shared.leading(&[10, 11]);
            assert!(first == 1 && second <= 2, "{first}, {second}");
            assert_eq!(others, [0; 3]);
        },
    );
    assert!(orders > 1000, "{orders}");
}

#[test]
fn a_set_that_becomes_a_bitmap_is_the_one_or_the_other() {
    let write = |shared: &Shared| shared.write(|writer| writer.store(4, &[10]));
    let held: &[(Column, &[u64])] = &[(0, &[10]), (1, &[10]), (2, &[10]), (3, &[10])];
    let orders = explore(
        1,
        || Shared::holding(held),
        write,
        |shared| {
            let [first @ .., last] = shared.leading(&[10, 11]);
            assert_eq!(first, [1; 4]);
            assert!(last <= 1, "{last}");
        },
    );
    assert!(orders > 1000, "{orders}");
}

#[test]
fn one_of_two_holders_goes() {
    let write = |shared: &Shared| shared.write(|writer| writer.remove(1, 10));
    let held: &[(Column, &[u64])] = &[(0, &[10]), (1, &[10])];
    let orders = explore(
        1,
        || Shared::holding(held),
        write,
        |shared| {
            let [first, second, others @ ..] = shared.leading(&[10, 11]);
            assert!(first == 1 && second <= 1, "{first}, {second}");
            assert_eq!(others, [0; 3]);
        },
    );
    assert!(orders > 1000, "{orders}");
}
