//! The threads that copy, and what they are to do.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::{Condvar, Mutex};

/// Work that several threads can do parts of at once.
pub(crate) trait Work: Send + Sync {
    /// Does one part, some ten microseconds of it.
    fn step(&self) -> Step;
}

/// What is left of a piece of work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// There may be parts that nobody does yet.
    More,
    /// What is left waits for somebody else.
    Later,
    /// There may be more, after what others have to do.
    Others,
    /// Nothing that nobody does already.
    Taken,
}

/// A bounded number of threads, started when there is first something to do. Work that came first is begun first, and all threads
/// do parts of it together.
pub(crate) struct Copiers {
    shared: Arc<Shared>,
    count: usize,
    /// Which process its threads are of.
    process: u32,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    is_wanted: Condvar,
    /// Changed only with the queue.
    is_closed: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    next_turn: u64,
    sleeping: usize,
}

/// Work that waits for its turn, and for which: it has another after each time that it was put to the end.
#[derive(Clone)]
struct Waiting {
    work: Arc<dyn Work>,
    turn: u64,
}

impl Queue {
    fn push(&mut self, work: Arc<dyn Work>) {
        self.waiting.push_back(Waiting { work, turn: self.next_turn });
        self.next_turn += 1;
    }

    fn remove(&mut self, is_it: impl Fn(&Waiting) -> bool) {
        let place = self.waiting.iter().position(is_it);
        place.and_then(|place| self.waiting.remove(place));
    }
}

/// How long a thread lies down when all there is to do waits for somebody else.
const PAUSE: Duration = Duration::from_micros(100);

impl Copiers {
    pub(crate) fn new(count: usize) -> Self {
        Self { shared: Arc::default(), count, process: std::process::id(), threads: Mutex::default() }
    }

    /// Has this done, after all that was there before.
    pub(crate) fn submit(&self, work: Arc<dyn Work>) -> Result<()> {
        self.start()?;
        let mut queue = self.shared.queue.lock();
        if self.shared.is_closed() {
            return Err(over());
        }
        queue.push(work);
        let is_anybody_asleep = queue.sleeping > 0;
        drop(queue);
        if is_anybody_asleep {
            self.shared.is_wanted.notify_all();
        }
        Ok(())
    }

    /// Does one part of what there is to do, on the thread of the caller. Says whether there was any.
    pub(crate) fn help(&self) -> bool {
        let Some(first) = self.shared.queue.lock().waiting.front().cloned() else { return false };
        let step = first.work.step();
        self.shared.put_away(first, step);
        matches!(step, Step::More | Step::Others)
    }

    /// Nothing is begun any more, and when this returns nothing is copied either: what was under way never ends.
    pub(crate) fn close(&self) {
        let mut queue = self.shared.queue.lock();
        self.shared.is_closed.store(true, Ordering::Relaxed);
        let left = std::mem::take(&mut queue.waiting);
        drop(queue);
        self.shared.is_wanted.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        let me = std::thread::current().id();
        // The last who holds them may be work that one of them has just done: that one ends when it looks for more.
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != me) {
            // One that panicked has said so, and there is nobody to tell it to.
            let _ended = thread.join();
        }
        drop(left);
    }

    fn start(&self) -> Result<()> {
        let mut threads = self.threads.lock();
        if self.shared.is_closed() {
            return Err(over());
        }
        while threads.len() < self.count {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name(format!("llmd-copy-{}", threads.len()));
            threads.push(thread.spawn(move || shared.run()).map_err(|cause| {
                Error::new(ErrorKind::Exhausted, "a thread that copies cannot be started").with_source(cause)
            })?);
        }
        Ok(())
    }
}

impl Shared {
    fn run(&self) {
        while let Some(next) = self.next() {
            let mut step = Step::More;
            while step == Step::More && !self.is_closed() {
                step = next.work.step();
            }
            self.put_away(next, step);
            if step == Step::Later {
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn next(&self) -> Option<Waiting> {
        let mut queue = self.queue.lock();
        loop {
            if self.is_closed() {
                return None;
            }
            if let Some(first) = queue.waiting.front() {
                return Some(first.clone());
            }
            queue.sleeping += 1;
            self.is_wanted.wait(&mut queue);
            queue.sleeping -= 1;
        }
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Takes work out of the queue of which nothing is left, and puts that to its end which waits or lets others go first.
    fn put_away(&self, Waiting { work, turn }: Waiting, step: Step) {
        if step == Step::More {
            return;
        }
        let mut queue = self.queue.lock();
        if step == Step::Taken || self.is_closed() {
            // Whoever found nothing left of it found so before it was put to the end since, by one who has left something.
            queue.remove(|there| there.turn == turn);
            return;
        }
        queue.remove(|there| Arc::ptr_eq(&there.work, &work));
        queue.push(work);
        let is_anybody_asleep = queue.sleeping > 0;
        drop(queue);
        if is_anybody_asleep {
            // Another thread may have found nothing left of it meanwhile, and all may have gone to sleep.
            self.is_wanted.notify_one();
        }
    }
}

/// What is said to whoever wants something done when it is too late.
fn over() -> Error {
    Error::new(ErrorKind::Unavailable, "the agent that copies is over")
}

impl Drop for Copiers {
    fn drop(&mut self) {
        // In a forked child there are no such threads, and one of them may have had a lock.
        if std::process::id() == self.process {
            self.close();
        }
    }
}

impl fmt::Debug for Copiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copiers").field("count", &self.count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Counted {
        taken: AtomicUsize,
        done: AtomicUsize,
    }

    impl Work for Counted {
        fn step(&self) -> Step {
            if self.taken.fetch_add(1, Ordering::Relaxed) >= 1000 {
                return Step::Taken;
            }
            self.done.fetch_add(1, Ordering::Relaxed);
            Step::More
        }
    }

    #[test]
    fn all_parts_are_done_once_whoever_helps() {
        let copiers = Copiers::new(3);
        let works: Vec<_> = (0..20).map(|_| Arc::new(Counted::default())).collect();
        for work in &works {
            copiers.submit(Arc::clone(work) as Arc<dyn Work>).unwrap();
            while copiers.help() {}
        }
        while works.iter().any(|work| work.done.load(Ordering::Relaxed) < 1000) {
            std::thread::yield_now();
        }
        drop(copiers);
        assert!(works.iter().all(|work| work.done.load(Ordering::Relaxed) == 1000));
    }

    /// Work that is the last to hold those who do it.
    struct Holding {
        copiers: Mutex<Option<Arc<Copiers>>>,
        may_go: std::sync::mpsc::Sender<()>,
    }

    impl Work for Holding {
        fn step(&self) -> Step {
            let held = self.copiers.lock().take();
            while held.as_ref().is_some_and(|held| Arc::strong_count(held) > 1) {
                std::thread::yield_now();
            }
            drop(held);
            // Whoever waits is told by this or by the end of the thread.
            let _told = self.may_go.send(());
            Step::Taken
        }
    }

    /// Work that has who has it done, as a copy does.
    struct Endless {
        copiers: Arc<Copiers>,
        steps: AtomicUsize,
    }

    impl Work for Endless {
        fn step(&self) -> Step {
            assert!(self.copiers.count > 0);
            self.steps.fetch_add(1, Ordering::Relaxed);
            Step::More
        }
    }

    #[test]
    fn one_that_copies_may_be_the_last_to_hold_them() {
        let (may_go, gone) = std::sync::mpsc::channel();
        let copiers = Arc::new(Copiers::new(2));
        let work = Holding { copiers: Mutex::new(Some(Arc::clone(&copiers))), may_go };
        copiers.submit(Arc::new(work)).unwrap();
        drop(copiers);
        gone.recv_timeout(Duration::from_secs(5)).unwrap();
    }

    #[test]
    fn what_is_under_way_when_it_is_closed_is_let_go_and_nothing_is_done_any_more() {
        let copiers = Arc::new(Copiers::new(2));
        let work = Arc::new(Endless { copiers: Arc::clone(&copiers), steps: AtomicUsize::new(0) });
        for _ in 0..3 {
            copiers.submit(Arc::clone(&work) as Arc<dyn Work>).unwrap();
        }
        while work.steps.load(Ordering::Relaxed) < 1000 {
            std::thread::yield_now();
        }
        copiers.close();
        let steps = work.steps.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!((work.steps.load(Ordering::Relaxed), Arc::strong_count(&work)), (steps, 1));
        assert_eq!(copiers.submit(work).unwrap_err().kind(), ErrorKind::Unavailable);
    }

    /// Tried again until it is there; one at a time, and the others find nothing to do.
    #[derive(Default)]
    struct Tried {
        is_taken: AtomicBool,
        tries: AtomicUsize,
    }

    impl Work for Tried {
        fn step(&self) -> Step {
            if self.is_taken.swap(true, Ordering::AcqRel) {
                return Step::Taken;
            }
            std::thread::sleep(Duration::from_micros(300));
            if self.tries.fetch_add(1, Ordering::Relaxed) + 1 == 100 {
                return Step::Taken;
            }
            self.is_taken.store(false, Ordering::Release);
            Step::Later
        }
    }

    #[test]
    fn work_that_waits_is_not_forgotten_when_others_find_nothing_of_it() {
        let copiers = Copiers::new(3);
        let work = Arc::new(Tried::default());
        copiers.submit(Arc::clone(&work) as Arc<dyn Work>).unwrap();
        for _ in 0..10_000 {
            copiers.help();
            if work.tries.load(Ordering::Relaxed) == 100 {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("it was tried {} times", work.tries.load(Ordering::Relaxed));
    }

    #[test]
    fn who_found_nothing_left_does_not_forget_what_another_put_back_since() {
        let shared = Shared::default();
        shared.queue.lock().push(Arc::new(Tried::default()));
        let (one, other) = (shared.next().unwrap(), shared.next().unwrap());
        // The other had looked while the one was at it, and says so late.
        shared.put_away(one, Step::Later);
        shared.put_away(other, Step::Taken);
        assert_eq!(shared.queue.lock().waiting.len(), 1);
        let last = shared.next().unwrap();
        shared.put_away(last, Step::Taken);
        assert_eq!(shared.queue.lock().waiting.len(), 0);
    }

    #[test]
    fn work_that_several_put_back_is_there_once() {
        let shared = Shared::default();
        shared.queue.lock().push(Arc::new(Tried::default()));
        for _ in 0..10 {
            let (one, other) = (shared.next().unwrap(), shared.next().unwrap());
            shared.put_away(one, Step::Later);
            shared.put_away(other, Step::Others);
        }
        assert_eq!(shared.queue.lock().waiting.len(), 1);
    }

    /// Work that has the copiers, and is the last that does.
    struct Last {
        copiers: Mutex<Option<Arc<Copiers>>>,
        gone: std::sync::mpsc::Sender<()>,
    }

    impl Work for Last {
        fn step(&self) -> Step {
            while self.copiers.lock().as_ref().is_some_and(|copiers| Arc::strong_count(copiers) > 1) {
                std::thread::yield_now();
            }
            Step::Taken
        }
    }

    impl Drop for Last {
        fn drop(&mut self) {
            drop(self.copiers.get_mut().take());
            self.gone.send(()).unwrap();
        }
    }

    #[test]
    fn the_last_who_has_them_may_be_a_thread_of_theirs() {
        let (gone, is_gone) = std::sync::mpsc::channel();
        let copiers = Arc::new(Copiers::new(2));
        let last = Last { copiers: Mutex::new(Some(Arc::clone(&copiers))), gone };
        copiers.submit(Arc::new(last)).unwrap();
        drop(copiers);
        is_gone.recv_timeout(Duration::from_secs(10)).unwrap();
    }
}
