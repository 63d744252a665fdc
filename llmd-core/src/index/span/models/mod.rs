//! Models of what is concurrent: a writer and a reader, in every order in which loom finds that they could see each other's
//! doings. `cargo xtask loom` runs them.

mod header;
mod prefix;
mod stable;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::system::{become_writer, forget_writer};

/// Tries every order of a reader and a writer that share `shared`, where no thread is interrupted more than `preemptions`
/// times that could have gone on; says how many there were.
fn explore<T: Send + Sync + 'static>(
    preemptions: usize,
    shared: impl Fn() -> T + Send + Sync + 'static,
    write: impl Fn(&T) + Clone + Send + Sync + 'static,
    read: impl Fn(&T) + Send + Sync + 'static,
) -> usize {
    let orders = Arc::new(AtomicUsize::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check({
        let orders = Arc::clone(&orders);
        move || {
            orders.fetch_add(1, Ordering::Relaxed);
            forget_writer();
            let shared = Arc::new(shared());
            let writing = loom::thread::spawn({
                let (shared, write) = (Arc::clone(&shared), write.clone());
                move || {
                    become_writer();
                    write(&shared);
                }
            });
            read(&shared);
            writing.join().expect("the writer does not panic");
            forget_writer();
        }
    });
    orders.load(Ordering::Relaxed)
}
