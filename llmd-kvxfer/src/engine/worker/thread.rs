//! The worker's own thread.

use std::os::fd::AsFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::core::Core;
use super::door::Door;
use super::{Done, Shared};
use crate::engine::wait::{For, wait};

/// How long it waits after a panic, so that one which comes again does not burn a core.
const AFTER_PANIC: Duration = Duration::from_millis(10);
/// How many commands are done before it looks at anything else.
const AT_ONCE: usize = 256;

pub(super) fn run(shared: &Shared, mut core: Core, mut door: Door) {
    let mut unpublished = Done::default();
    loop {
        shared.bell.quiet();
        // Not before: what rings in between would not be heard.
        if shared.is_over.load(Ordering::SeqCst) {
            return;
        }
        let turned = catch_unwind(AssertUnwindSafe(|| turn(shared, &mut core, &mut door, &unpublished)));
        let is_more = turned.unwrap_or_else(|_| {
            // What the panic said went where panics go.
            core.recover();
            wait(&[(shared.bell.as_fd(), For::Reading)], Some(AFTER_PANIC));
            true
        });
        unpublished.append(&mut core.done);
        // The scheduler hears of an end before the engine does, so that it knows what the engine asks it then.
        let is_said = door.say(&mut core.notices);
        // Whoever takes what has ended finds it counted.
        *shared.stats.lock() = core.counted();
        if is_said {
            shared.done.lock().append(&mut unpublished);
        }
        if !is_more {
            sleep(shared, &core, &door);
        }
    }
}

/// Does what there is to do; says whether there may be more.
fn turn(shared: &Shared, core: &mut Core, door: &mut Door, unpublished: &Done) -> bool {
    core.step();
    let mut is_more = true;
    for _ in 0..AT_ONCE {
        let Some(command) = door.hear(&mut core.stats) else {
            is_more = false;
            break;
        };
        let untold = shared.done.lock().len() + unpublished.len() + core.done.len();
        core.obey(command, untold >= core.max_untold());
        door.say(&mut core.notices);
    }
    let now = core.agent().now();
    door.accept(now, &mut core.stats);
    let came = core.stats.schedulers;
    let is_another = door.greet(now, &mut core.stats);
    if door.is_lost() {
        core.stats.lost_schedulers += 1;
        core.forsake();
    }
    if is_another {
        core.forget_numbers();
    }
    is_more || core.stats.schedulers > came
}

fn sleep(shared: &Shared, core: &Core, door: &Door) {
    let streams: Vec<_> = door.watched().collect();
    let mut watched = vec![(shared.bell.as_fd(), For::Reading), (door.listener(), For::Reading)];
    watched.push((core.agent().wake_fd(), For::Reading));
    watched.extend(streams.iter().map(|(stream, what)| (stream.as_fd(), *what)));
    let until = core.next_deadline().into_iter().chain(door.next_deadline()).min();
    wait(&watched, until.map(|until| until.saturating_sub(core.agent().now())));
}
