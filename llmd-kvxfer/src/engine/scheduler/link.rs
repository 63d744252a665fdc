//! The connection with one worker.

use std::os::fd::AsFd as _;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use crate::engine::TENANT;
use crate::engine::clock::Clock;
use crate::engine::line::Line;
use crate::engine::message::{Here, Notice};
use crate::engine::place::Place;
use crate::engine::wait::{For, wait};
use crate::grant::AgentId;
use crate::handshake::{Connecting, Identity, Keys};

/// The connection with one worker, or when it is tried again.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) place: Place,
    pub(super) line: Option<Line>,
    /// What the worker said when it was last connected with.
    pub(super) here: Option<Here>,
    pub(super) retry_at: Duration,
    pause: Duration,
}

/// What it takes to connect.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    me: Identity,
    keys: Keys,
}

/// How long one is left alone that could not be reached, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long connecting may take.
const GREETING: Duration = Duration::from_secs(2);

impl Link {
    pub(super) fn new(place: Place) -> Self {
        Self { place, line: None, here: None, retry_at: Duration::ZERO, pause: FIRST_PAUSE }
    }

    /// It could not be reached, or was lost.
    pub(super) fn put_off(&mut self, now: Duration) {
        self.line = None;
        self.retry_at = now.saturating_add(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    pub(super) fn connected(&mut self, line: Line, here: Here) {
        (self.line, self.here, self.pause) = (Some(line), Some(here), FIRST_PAUSE);
    }

    /// Says a command, if it is connected with; says whether the connection lives.
    pub(super) fn say(&mut self, command: &[u8]) -> Result<()> {
        match &mut self.line {
            Some(line) => line.say(command.to_vec()),
            None => Ok(()),
        }
    }

    /// The next thing that the worker said, if there is one.
    pub(super) fn hear(&mut self) -> Result<Option<Notice>> {
        let Some(line) = &mut self.line else { return Ok(None) };
        line.flush();
        line.hear()?.as_deref().map(Notice::decode).transpose()
    }
}

impl Pass {
    pub(super) fn new(key: &[u8]) -> Result<Self> {
        let mut keys = Keys::default();
        keys.add(TENANT, Some(key));
        Ok(Self { me: Identity { agent: AgentId::random()?, name: "scheduler".to_owned() }, keys })
    }

    /// Connects with the worker that is there, and hears who it is. Waits for it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it is not reached, or has another scheduler, and [`ErrorKind::Denied`] when one of the two has
    /// another key.
    pub(super) fn connect(&self, place: &Place) -> Result<(Line, Here)> {
        let clock = Clock::new();
        let mut line = Line::new(place.connect(GREETING)?);
        let (connecting, hello) = Connecting::new(&self.me, TENANT, &self.keys)?;
        line.say(hello)?;
        let answer = next(&mut line, clock, place)?;
        let (_, proof) = connecting.clone().on_answer(&answer, &[])?;
        let signed = connecting.signed(&answer)?;
        line.say(proof)?;
        line.sign(signed);
        // A worker that found the proof wrong says nothing more.
        let said = next(&mut line, clock, place).map_err(|error| {
            let message = format!("{place} did not take this scheduler's proof, or is gone");
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        })?;
        match Notice::decode(&said)? {
            Notice::Here(here) => Ok((line, here)),
            Notice::Refused { why } => Err(Error::new(ErrorKind::Unavailable, format!("{place} refused: {why}"))),
            other => {
                let message = format!("{place} said {other:?} first, expected who it is");
                Err(Error::new(ErrorKind::Corrupt, message))
            }
        }
    }
}

/// What comes next, when it is here.
fn next(line: &mut Line, clock: Clock, place: &Place) -> Result<Vec<u8>> {
    loop {
        line.flush();
        if let Some(message) = line.hear()? {
            return Ok(message);
        }
        let left = GREETING
            .checked_sub(clock.now())
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, format!("{place} did not answer within {GREETING:?}")))?;
        let stream = std::sync::Arc::clone(line.stream());
        let what = if line.is_unsent() { For::ReadingAndWriting } else { For::Reading };
        wait(&[(stream.as_fd(), what)], Some(left));
    }
}
