//! The two processes of a subject that runs in this program: they answer questions with what a family does.

use llmd_core::{Error, ErrorKind, Result};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde_json::{Value, json};

use crate::family::{Pull, Serve, Wait};
use crate::line::{Ask, Asks, say, say_error};
use crate::stopwatch::{Stopwatch, worked_s};
use crate::work::{Work, word};

/// Transfers that are timed at least, however long they take.
const LEAST: usize = 3;
/// What wiped memory holds: no word of a pool.
const WIPED: u64 = u64::MAX;

/// Dies with whoever started it, even where it cannot look at its input.
pub(crate) fn die_with_the_driver() {
    // Where it fails, the end of standard input does it a little later.
    _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// The side that holds the blocks.
///
/// # Errors
///
/// When it cannot say what it offers. What goes wrong later is answered.
pub(crate) fn serve(mut side: Box<dyn Serve>) -> Result<()> {
    say(&json!({ "offer": side.offer()? }));
    let (asks, mut work, mut echo) = (Asks::read(), None, None);
    loop {
        let ask = match echo {
            None => asks.next()?,
            Some(wait) => match asks.look()? {
                None => {
                    side.echo(wait)?;
                    continue;
                }
                ask => ask,
            },
        };
        let Some(ask) = ask else { return Ok(()) };
        echo = None;
        answer(served(&mut *side, ask, &mut work, &mut echo));
    }
}

fn served(side: &mut dyn Serve, ask: Ask, work: &mut Option<Work>, echo: &mut Option<Wait>) -> Result<Value> {
    match ask {
        Ask::Cpu => Ok(json!({ "cpu_s": worked_s() })),
        Ask::Echo { wait } => {
            *echo = Some(named(&wait)?);
            Ok(json!({}))
        }
        Ask::Meet { offer } => side.meet(&offer).map(|()| json!({})),
        Ask::Prepare { point, lists, .. } => {
            let read = work.insert(Work::read(point, &lists)?);
            Ok(json!({ "tickets": side.prepare(read)? }))
        }
        Ask::Quiet => Ok(json!({})),
        Ask::Seal => {
            let work = work.as_ref().ok_or_else(unprepared)?;
            let took = (0..work.point.pulls).map(|pull| {
                let stopwatch = Stopwatch::start();
                side.seal(work, pull).map(|()| stopwatch.microseconds())
            });
            Ok(json!({ "p50_us": share(&mut took.collect::<Result<Vec<_>>>()?, 0.5) }))
        }
        ask @ (Ask::Check { .. } | Ask::Notify { .. } | Ask::Pull { .. }) => Err(not_mine(&ask)),
    }
}

/// The side that pulls.
///
/// # Errors
///
/// When it cannot say what it offers. What goes wrong later is answered.
pub(crate) fn pull(mut side: Box<dyn Pull>) -> Result<()> {
    say(&json!({ "offer": side.offer()? }));
    let (asks, mut work) = (Asks::read(), None);
    while let Some(ask) = asks.next()? {
        answer(pulled(&mut *side, ask, &mut work));
    }
    Ok(())
}

fn pulled(side: &mut dyn Pull, ask: Ask, work: &mut Option<Work>) -> Result<Value> {
    match ask {
        Ask::Check { number } => {
            let work = work.as_ref().filter(|work| number < work.transfers()).ok_or_else(unprepared)?;
            let (wrong, words) = checked(side, work, number)?;
            Ok(json!({ "wrong": wrong, "words": words }))
        }
        Ask::Cpu => Ok(json!({ "cpu_s": worked_s() })),
        Ask::Meet { offer } => side.meet(&offer).map(|()| json!({})),
        Ask::Notify { wait, count, seconds } => {
            let (wait, began, mut took) = (named(&wait)?, Stopwatch::start(), Vec::new());
            while took.len() < LEAST || (took.len() < count && began.elapsed().as_secs_f64() < seconds) {
                let stopwatch = Stopwatch::start();
                side.notify(wait)?;
                took.push(stopwatch.microseconds());
            }
            Ok(json!({ "p50_us": share(&mut took, 0.5), "p99_us": share(&mut took, 0.99), "count": took.len() }))
        }
        Ask::Prepare { point, lists, tickets } => {
            let read = work.insert(Work::read(point, &lists)?);
            side.prepare(read, &tickets).map(|()| json!({}))
        }
        Ask::Pull { way, seconds } => {
            let work = work.as_ref().ok_or_else(unprepared)?;
            if !way.is_empty() {
                side.choose(&way)?;
            }
            timed(side, work, seconds)
        }
        ask @ (Ask::Echo { .. } | Ask::Quiet | Ask::Seal) => Err(not_mine(&ask)),
    }
}

fn timed(side: &mut dyn Pull, work: &Work, seconds: f64) -> Result<Value> {
    side.post(work, 0)?;
    side.finish()?;
    let (began, worked) = (Stopwatch::start(), worked_s());
    let (mut posted, mut took) = (Vec::new(), Vec::new());
    for number in 1..=work.point.pulls {
        if took.len() >= LEAST && began.elapsed().as_secs_f64() >= seconds {
            break;
        }
        let stopwatch = Stopwatch::start();
        side.post(work, number)?;
        posted.push(stopwatch.microseconds());
        side.finish()?;
        took.push(stopwatch.microseconds());
    }
    let worked = worked_s() - worked;
    Ok(json!({
        "p50_us": share(&mut took, 0.5),
        "p99_us": share(&mut took, 0.99),
        "post_p50_us": share(&mut posted, 0.5),
        "count": took.len(),
        "cpu_s": worked,
    }))
}

/// How many words of one transfer are not what they should be, and how many there are. Where they go is wiped before:
/// an earlier transfer may have brought the same.
fn checked(side: &mut dyn Pull, work: &Work, number: usize) -> Result<(usize, usize)> {
    let (list, words) = (work.list(number), work.point.size / size_of::<u64>());
    let pool = side.pool();
    for &mine in list.mine() {
        pool[mine as usize * words..][..words].fill(WIPED);
    }
    side.post(work, number)?;
    side.finish()?;
    let pool = side.pool();
    let wrong = list.theirs().iter().zip(list.mine()).map(|(&theirs, &mine)| {
        let found = &pool[mine as usize * words..][..words];
        let first = theirs as usize * words;
        found.iter().enumerate().filter(|(n, found)| **found != word(first + n)).count()
    });
    Ok((wrong.sum(), words * list.mine().len()))
}

fn answer(result: Result<Value>) {
    match result {
        Ok(value) => say(&value),
        Err(error) => say_error(&error),
    }
}

/// What this share of the values is no more than.
fn share(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

fn named(wait: &str) -> Result<Wait> {
    Wait::named(wait).ok_or_else(|| Error::new(ErrorKind::Invalid, format!("no way to wait {wait:?}")))
}

fn unprepared() -> Error {
    Error::new(ErrorKind::Invalid, "nothing was prepared")
}

fn not_mine(ask: &Ask) -> Error {
    Error::new(ErrorKind::Invalid, format!("{ask:?} is a question for the other side"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Point;

    const POOL: usize = 1 << 20;

    /// Moves what it is told to, but for the last word of each transfer when it is careless.
    #[derive(Debug)]
    struct Fake {
        pool: Vec<u64>,
        is_careless: bool,
        posted: Vec<usize>,
    }

    impl Pull for Fake {
        fn meet(&mut self, _: &Value) -> Result<()> {
            Ok(())
        }

        fn prepare(&mut self, _: &Work, _: &Value) -> Result<()> {
            Ok(())
        }

        fn post(&mut self, work: &Work, pull: usize) -> Result<()> {
            self.posted.push(pull);
            let (list, words) = (work.list(pull), work.point.size / 8);
            for (&theirs, &mine) in list.theirs().iter().zip(list.mine()) {
                for n in 0..words {
                    self.pool[mine as usize * words + n] = word(theirs as usize * words + n);
                }
            }
            if self.is_careless {
                self.pool[list.mine()[0] as usize * words] = 7;
            }
            Ok(())
        }

        fn finish(&mut self) -> Result<()> {
            Ok(())
        }

        fn pool(&mut self) -> &mut [u64] {
            &mut self.pool
        }
    }

    fn fake(is_careless: bool) -> (Fake, Work) {
        let work = Work::at(Point { size: 4096, blocks: 16, pulls: 5 }, POOL).unwrap();
        (Fake { pool: vec![0; POOL / 8], is_careless, posted: Vec::new() }, work)
    }

    #[test]
    fn a_word_that_did_not_come_is_found() {
        for (is_careless, wrong) in [(false, 0), (true, 1)] {
            let (mut side, work) = fake(is_careless);
            assert_eq!(checked(&mut side, &work, 2).unwrap(), (wrong, 16 * 512));
        }
    }

    #[test]
    fn each_transfer_of_a_measurement_has_its_number_once() {
        let (mut side, work) = fake(false);
        let said = timed(&mut side, &work, 10.0).unwrap();
        checked(&mut side, &work, said["count"].as_u64().unwrap() as usize + 1).unwrap();

        assert_eq!(side.posted, (0..work.transfers()).collect::<Vec<_>>());
        let took = said["p50_us"].as_f64().unwrap();
        assert!(took > 0.0 && said["post_p50_us"].as_f64().unwrap() <= took);
    }

    #[test]
    fn where_time_is_up_three_are_timed_all_the_same() {
        let (mut side, work) = fake(false);
        assert_eq!(timed(&mut side, &work, 0.0).unwrap()["count"], LEAST);
    }

    #[test]
    fn a_share_is_one_of_the_values() {
        assert_eq!(share(&mut [4.0, 1.0, 3.0, 2.0, 9.0], 0.5), 3.0);
        assert_eq!(share(&mut [4.0, 1.0], 0.99), 4.0);
        assert!(share(&mut [], 0.5).is_nan());
    }
}
