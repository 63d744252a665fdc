//! A second thread that is there at once: it looks for work again and again while there is some, and dozes when there is
//! none.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

type Task = Box<dyn FnOnce() -> Result<()> + Send>;

/// Looks before it dozes: some tenths of a millisecond.
const LOOKS: u32 = 100_000;
const DOZE: Duration = Duration::from_micros(50);

/// One thread, which does one task at a time and ends with the value.
#[derive(Debug)]
pub(super) struct Helper {
    tasks: SyncSender<Task>,
    given: usize,
    done: Arc<Done>,
}

#[derive(Debug, Default)]
struct Done {
    count: AtomicUsize,
    failed: AtomicUsize,
}

impl Helper {
    pub(super) fn start() -> Self {
        let (tasks, work) = sync_channel::<Task>(1);
        let done = Arc::new(Done::default());
        let says = Arc::clone(&done);
        thread::spawn(move || {
            let mut looks = 0;
            loop {
                match work.try_recv() {
                    Ok(task) => {
                        looks = 0;
                        if task().is_err() {
                            says.failed.fetch_add(1, Ordering::Relaxed);
                        }
                        // Whoever sees the count sees what the task wrote.
                        says.count.fetch_add(1, Ordering::Release);
                    }
                    Err(TryRecvError::Empty) if looks < LOOKS => {
                        looks += 1;
                        spin_loop();
                    }
                    Err(TryRecvError::Empty) => thread::sleep(DOZE),
                    Err(TryRecvError::Disconnected) => return,
                }
            }
        });
        Self { tasks, given: 0, done }
    }

    /// Gives it a task; the one before was waited for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] when it has ended.
    pub(super) fn give(&mut self, task: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
        let ended = |_| Error::new(ErrorKind::Internal, "the second thread has ended");
        self.tasks.try_send(Box::new(task)).map_err(ended)?;
        self.given += 1;
        Ok(())
    }

    /// Waits until it has done what it was given.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when a task has failed.
    pub(super) fn wait(&self) -> Result<()> {
        // The other half of `Release` above.
        while self.done.count.load(Ordering::Acquire) < self.given {
            spin_loop();
        }
        match self.done.failed.load(Ordering::Relaxed) {
            0 => Ok(()),
            failed => Err(Error::new(ErrorKind::Unavailable, format!("{failed} tasks of the second thread failed"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_was_given_is_done_when_it_was_waited_for() {
        let (mut helper, sum) = (Helper::start(), Arc::new(AtomicUsize::new(0)));
        for n in 0..100 {
            let to = Arc::clone(&sum);
            let add = move || {
                to.fetch_add(n, Ordering::Relaxed);
                Ok(())
            };
            helper.give(add).unwrap();
            helper.wait().unwrap();
            assert_eq!(sum.load(Ordering::Relaxed), n * (n + 1) / 2);
        }
        helper.give(|| Err(Error::new(ErrorKind::Internal, "on purpose"))).unwrap();
        assert!(helper.wait().is_err());
    }
}
