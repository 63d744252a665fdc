//! The names of workers as C reads them, which stay where they are as long as their index.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::OnceLock;

use llmd_core::WorkerId;
use llmd_core::feed::Feed;

use crate::string::terminated;

/// How many names a shelf holds, and how many shelves there are: ids are dense and no id is given twice, so that an index
/// that sees more than the product come and go tells the names of later ones as NULL.
const SHELF: usize = 1024;

/// Names by id, each put down once, on the first time that somebody wants it. Reading waits for nobody.
#[derive(Debug)]
pub(super) struct Names {
    shelves: Box<[OnceLock<Shelf>]>,
}

type Shelf = Box<[OnceLock<CString>]>;

impl Names {
    pub(super) fn new() -> Self {
        Self { shelves: empty() }
    }

    /// The name of a worker; NULL when there is no such worker.
    pub(super) fn get(&self, feed: &Feed, worker: WorkerId) -> *const c_char {
        let place = worker.0 as usize;
        let Some(shelf) = self.shelves.get(place / SHELF) else {
            return ptr::null();
        };
        let slot = &shelf.get_or_init(empty)[place % SHELF];
        if let Some(name) = slot.get() {
            return name.as_ptr();
        }
        match feed.name(worker) {
            Some(name) => slot.get_or_init(|| terminated(&*name)).as_ptr(),
            None => ptr::null(),
        }
    }
}

fn empty<T>() -> Box<[OnceLock<T>]> {
    (0..SHELF).map(|_| OnceLock::new()).collect()
}

#[cfg(test)]
mod tests {
    use llmd_core::index::IndexSettings;

    use super::*;

    #[test]
    fn a_name_stays_where_it_is_when_its_worker_goes() {
        let (feed, names) = (Feed::new(IndexSettings::default()).unwrap(), Names::new());
        let worker = feed.worker("pod-7").unwrap();
        let there = names.get(&feed, worker);
        assert!(!there.is_null());

        feed.remove_worker("pod-7").unwrap();
        let again = feed.worker("pod-7").unwrap();
        assert_eq!(names.get(&feed, worker), there);
        assert_ne!(names.get(&feed, again), there);
    }

    #[test]
    fn a_worker_that_nobody_knows_has_no_name() {
        let (feed, names) = (Feed::new(IndexSettings::default()).unwrap(), Names::new());

        assert!(names.get(&feed, WorkerId(3)).is_null());
        assert!(names.get(&feed, WorkerId(u32::MAX)).is_null());
    }
}
