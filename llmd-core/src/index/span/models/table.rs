//! A table in which keys come and go, and whose segments are made anew, while it is searched.
//!
//! In models, a table begins with two buckets of two slots each. It is made anew for its fourth key, and divided for its
//! sixth; one of the halves then lies where the table began.

use std::sync::{Arc, Mutex};

use super::super::Place;
use super::super::sync::{AtomicU64, Ordering};
use super::super::table::{Table, TableView};
use super::explore;

struct Shared {
    table: Mutex<Table>,
    view: Arc<TableView>,
    told: AtomicU64,
    led_to: AtomicU64,
}

fn place(key: u64) -> Place {
    Place { run: key as u32 + 100, off: 0 }
}

/// A table with these keys.
fn holding(keys: [u64; 3]) -> impl Fn() -> Shared + Send + Sync + 'static {
    move || {
        let mut table = Table::new(1);
        keys.iter().for_each(|&key| table.insert(key, place(key)).expect("it is new"));
        let view = table.view();
        Shared { table: Mutex::new(table), view, told: AtomicU64::new(0), led_to: AtomicU64::new(0) }
    }
}

impl Shared {
    /// The writer's own; no other thread takes it.
    fn write(&self, work: impl FnOnce(&mut Table)) {
        work(&mut self.table.try_lock().expect("there is one writer"));
    }
}

#[test]
fn a_key_is_found_while_others_come_and_go() {
    // One of three keys has to share a bucket or pass one by; which does depends on its hash.
    let orders = (1..=12).map(|key| {
        let write = move |shared: &Shared| {
            shared.write(|table| {
                assert!(table.remove(key + 100));
                table.insert(key + 200, place(key + 200)).expect("it is new");
                assert!(table.remove(key + 101));
            });
        };
        let keys = [key + 100, key + 101, key];
        explore(3, holding(keys), write, move |shared| assert_eq!(shared.view.get(key), Some(place(key))))
    });
    let orders: Vec<_> = orders.collect();
    assert!(orders.iter().sum::<usize>() > 100, "{orders:?}");
}

#[test]
fn a_key_is_found_while_its_segment_is_made_anew() {
    let write = |shared: &Shared| shared.write(|table| table.insert(4, place(4)).expect("it is new"));
    let orders = explore(3, holding([1, 2, 3]), write, |shared| assert_eq!(shared.view.get(3), Some(place(3))));
    assert!(orders > 10, "{orders}");
}

#[test]
fn a_key_is_found_though_what_was_its_segment_serves_others() {
    let orders = [1, 2, 3].map(|key| {
        let write = move |shared: &Shared| {
            shared.write(|table| {
                table.grow(0);
                table.grow(0);
            });
        };
        explore(2, holding([1, 2, 3]), write, move |shared| assert_eq!(shared.view.get(key), Some(place(key))))
    });
    assert!(orders.iter().all(|&orders| orders > 10), "{orders:?}");
}

#[test]
fn a_key_is_found_by_who_was_told_of_it() {
    let write = |shared: &Shared| {
        shared.write(|table| table.insert(4, place(4)).expect("it is new"));
        shared.told.store(1, Ordering::Release);
    };
    let orders = explore(3, holding([1, 2, 3]), write, |shared| {
        let told = shared.told.load(Ordering::Acquire) == 1;
        let found = shared.view.get(4);
        assert!(found == Some(place(4)) || !told && found.is_none(), "told: {told}, found: {found:?}");
    });
    assert!(orders > 10, "{orders}");
}

#[test]
fn who_finds_a_key_sees_what_it_leads_to() {
    let write = |shared: &Shared| {
        shared.led_to.store(1, Ordering::Relaxed);
        shared.write(|table| table.insert(4, place(4)).expect("it is new"));
    };
    let orders = explore(3, holding([1, 2, 3]), write, |shared| {
        if shared.view.get(4).is_some() {
            assert_eq!(shared.led_to.load(Ordering::Relaxed), 1);
        }
    });
    assert!(orders > 10, "{orders}");
}
