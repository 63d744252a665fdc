//! The connections with the workers: what is said and heard over them, and what is said again when they come back.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::State;
use super::lend::Answer;
use crate::engine::line::Line;
use crate::engine::message::{Command, Here, Notice};
use crate::engine::place::Place;
use crate::engine::scheduler::fit::Layouts;
use crate::engine::scheduler::invalid;
use crate::engine::scheduler::known::{Request, Stage};
use crate::engine::scheduler::link::{Link, Pass};
use crate::engine::stream::Stream;
use crate::engine::wait::For;

impl State {
    pub(in crate::engine::scheduler) fn workers(&self) -> usize {
        self.links.len()
    }

    pub(in crate::engine::scheduler) fn pass(&self, worker: usize) -> (Pass, Place) {
        (self.pass.clone(), self.links[worker].place.clone())
    }

    pub(super) fn is_connected(&self) -> bool {
        self.links.iter().all(|link| link.line.is_some())
    }

    /// Whether there is one to be connected with.
    pub(in crate::engine::scheduler) fn is_any_lost(&self) -> bool {
        !self.is_connected()
    }

    pub(super) fn say_to_all(&mut self, now: Duration, command: &Command) {
        let bytes = command.encode();
        (0..self.links.len()).for_each(|worker| self.say(now, worker, &bytes));
    }

    pub(super) fn say(&mut self, now: Duration, worker: usize, bytes: &[u8]) {
        if let Err(error) = self.links[worker].say(bytes) {
            self.lose(now, worker, &error);
        }
    }

    /// Hears whatever workers have said.
    pub(in crate::engine::scheduler) fn hear(&mut self, now: Duration) {
        for worker in 0..self.links.len() {
            loop {
                match self.links[worker].hear() {
                    Ok(Some(notice)) => self.heard(worker, notice),
                    Ok(None) => break,
                    Err(error) => {
                        self.stats.malformed_messages += u64::from(error.kind() != ErrorKind::Unavailable);
                        self.lose(now, worker, &error);
                    }
                }
            }
        }
    }

    fn heard(&mut self, worker: usize, notice: Notice) {
        let mut answer = |number: u64, answer: Answer| {
            // One that comes after patience was over is answered to nobody.
            if let Some(asking) = self.asking.as_mut().filter(|asking| asking.number == number) {
                asking.answers[worker] = Some(answer);
            }
        };
        match notice {
            Notice::Ended { number, is_waiting } => self.known.ended(worker, number, is_waiting),
            Notice::Granted { number, grants } => answer(number, Ok(grants)),
            Notice::NotGranted { number, why } => answer(number, Err(why)),
            // Said first, or never.
            Notice::Here(_) | Notice::Refused { .. } => self.stats.malformed_messages += 1,
        }
    }

    /// A connection is lost. Its worker gives up what only waited, and so do the others.
    fn lose(&mut self, now: Duration, worker: usize, error: &Error) {
        if self.links[worker].line.is_none() {
            return;
        }
        self.stats.lost_workers += 1;
        self.stats.last_failure = Some(error.to_string());
        self.links[worker].put_off(now);
        let is_waiting = |request: &Request| matches!(request.stage, Stage::Waiting);
        let requests = self.known.requests.iter().filter(|(_, request)| is_waiting(request));
        for id in requests.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.withdraw(now, &id);
        }
    }

    /// Which are to be connected with now.
    pub(in crate::engine::scheduler) fn due(&self, now: Duration) -> Vec<usize> {
        let is_due = |link: &Link| link.line.is_none() && link.retry_at <= now;
        self.links.iter().enumerate().filter(|(_, link)| is_due(link)).map(|(worker, _)| worker).collect()
    }

    /// When the next is.
    pub(in crate::engine::scheduler) fn retry_at(&self) -> Option<Duration> {
        self.links.iter().filter(|link| link.line.is_none()).map(|link| link.retry_at).min()
    }

    /// Takes a connection, or that there is none.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(in crate::engine::scheduler) fn install(
        &mut self,
        now: Duration,
        worker: usize,
        connected: Result<(Line, Here)>,
    ) -> Result<()> {
        let checked = connected.and_then(|(line, here)| {
            self.check_here(worker, &here)?;
            Ok((line, here))
        });
        let (line, here) = checked.inspect_err(|error| {
            self.stats.failed_attempts += 1;
            self.stats.last_failure = Some(error.to_string());
            self.links[worker].put_off(now);
        })?;
        self.links[worker].connected(line, here);
        self.lay_out();
        self.say_again(now, worker);
        Ok(())
    }

    fn check_here(&self, worker: usize, here: &Here) -> Result<()> {
        let (place, workers) = (&self.links[worker].place, self.links.len());
        if (here.shard as usize, here.shards as usize) != (worker, workers) {
            return Err(invalid(format!(
                "{place} has shard {} of {}, expected {worker} of {workers}",
                here.shard, here.shards
            )));
        }
        let groups = |here: &Here| here.groups.iter().map(|(group, _)| *group).collect::<Vec<_>>();
        let other = self.links.iter().enumerate().filter(|(there, _)| *there != worker);
        let other = other.filter_map(|(_, link)| link.here.as_ref()).find(|other| groups(other) != groups(here));
        match other {
            Some(_) => Err(invalid(format!("{place} has other cache groups than the other workers"))),
            None => Ok(()),
        }
    }

    fn lay_out(&mut self) {
        let Some(all) = self.links.iter().map(|link| link.here.as_ref()).collect::<Option<Vec<_>>>() else { return };
        let mut layouts = Layouts::new();
        for (group, layout) in all.iter().flat_map(|here| &here.groups) {
            layouts.entry(*group).or_default().push(layout.clone());
        }
        if layouts != self.layouts {
            self.layouts = layouts;
            self.fits.clear();
        }
    }

    /// Says what a worker that was away may have missed, and asks what was not heard of it.
    fn say_again(&mut self, now: Duration, worker: usize) {
        let mut commands = Vec::new();
        for (id, request) in &self.known.requests {
            let abort = || Command::Abort { id: id.clone() }.encode();
            match &request.stage {
                Stage::Lent(told) if !told.ended.has(worker) => {
                    commands.extend(told.is_aborted.then(abort));
                    commands.push(Command::Holds { number: told.number }.encode());
                }
                Stage::Loading { told, command, is_preempted, .. } if !told.ended.has(worker) => {
                    commands.push(command.to_vec());
                    commands.extend(is_preempted.then(|| Command::Preempted { id: id.clone() }.encode()));
                    commands.extend(told.is_aborted.then(abort));
                }
                Stage::Lent(_) | Stage::Loading { .. } | Stage::Waiting => {}
            }
        }
        commands.iter().for_each(|command| self.say(now, worker, command));
    }

    /// Looks whether connections have ended that nobody hears of meanwhile, and sends what could not be.
    pub(in crate::engine::scheduler) fn hear_of_ends(&mut self, now: Duration) {
        self.hear(now);
    }

    /// The connections, for one who waits for an answer.
    pub(super) fn connections(&self) -> Vec<(Arc<Stream>, For)> {
        self.watched(For::Reading)
    }

    /// The connections, for one who waits for their ends.
    pub(in crate::engine::scheduler) fn streams(&self) -> Vec<(Arc<Stream>, For)> {
        self.watched(For::TheEnd)
    }

    fn watched(&self, what: For) -> Vec<(Arc<Stream>, For)> {
        let lines = self.links.iter().filter_map(|link| link.line.as_ref());
        let what = |line: &Line| if line.is_unsent() { For::ReadingAndWriting } else { what };
        lines.map(|line| (Arc::clone(line.stream()), what(line))).collect()
    }
}
