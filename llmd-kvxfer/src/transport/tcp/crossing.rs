//! Segments of pools that are in a device: a connection reads and writes memory of the host, and the device copies from and to it.

use std::fmt;
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};

use super::super::of_the_device;
use super::rooms::{Room, Rooms};
use crate::copy::{Readable, copy_span};
use crate::device::{DeviceCopy, Direction, Moving};
use crate::pool::Pool;

/// The bytes of one segment, between a device and memory of the host.
pub(super) struct Crossing {
    direction: Direction,
    pool: Pool,
    rooms: Arc<Rooms>,
    /// Of what leaves a device, none before the device has a buffer for it.
    room: Option<Room>,
    bytes: u64,
    stage: Stage,
}

enum Stage {
    /// Until there is a buffer.
    Waiting(Vec<DeviceCopy>),
    Moving(Moving),
    Over,
}

impl Crossing {
    /// From a pool that is in a device to the first so many bytes of a room.
    pub(super) fn out_of(pool: &Pool, rooms: &Arc<Rooms>, bytes: u64, copies: Vec<DeviceCopy>) -> Self {
        let (pool, rooms, stage) = (pool.clone(), Arc::clone(rooms), Stage::Waiting(copies));
        Self { direction: Direction::ToHost, pool, rooms, room: None, bytes, stage }
    }

    /// From the first so many bytes of a room into a pool that is in a device.
    pub(super) fn into(pool: &Pool, room: Room, rooms: &Arc<Rooms>, bytes: u64, copies: Vec<DeviceCopy>) -> Self {
        let stage = if copies.is_empty() { Stage::Over } else { Stage::Waiting(copies) };
        let (pool, rooms) = (pool.clone(), Arc::clone(rooms));
        Self { direction: Direction::ToDevice, pool, rooms, room: Some(room), bytes, stage }
    }

    /// Goes on as far as the device has come, and says whether all is where it was to go. Nothing happens by itself.
    pub(super) fn go_on(&mut self) -> Result<bool> {
        self.step().map_err(of_the_device)
    }

    /// Whether the device was asked for anything.
    pub(super) const fn has_begun(&self) -> bool {
        !matches!(self.stage, Stage::Waiting(_))
    }

    /// Where the bytes are in the host, once it is over.
    pub(super) fn into_room(self) -> Result<Room> {
        self.room.ok_or_else(|| Error::new(ErrorKind::Internal, "a segment left its device without any room"))
    }

    fn step(&mut self) -> Result<bool> {
        match &mut self.stage {
            Stage::Over => {}
            Stage::Waiting(copies) => {
                let there = self.pool.engine().zip(self.pool.region().device());
                let (engine, there) = there.ok_or_else(|| Error::new(ErrorKind::Internal, "a pool left its device"))?;
                let Some(buffer) = engine.buffer(self.bytes)? else { return Ok(false) };
                if self.room.is_none() {
                    self.room = self.rooms.take(self.bytes);
                }
                let Some(room) = &self.room else { return Ok(false) };
                if self.direction == Direction::ToDevice {
                    copy_span(room.region().span(), buffer.span(), self.bytes)?;
                }
                let moving = engine.begin(self.direction, there.memory(), buffer, std::mem::take(copies))?;
                self.stage = Stage::Moving(moving);
            }
            Stage::Moving(moving) => {
                let Some(buffer) = moving.landed()? else { return Ok(false) };
                if let (Direction::ToHost, Some(room)) = (self.direction, &self.room) {
                    copy_span(buffer.span(), room.region().span(), self.bytes)?;
                }
                self.stage = Stage::Over;
            }
        }
        Ok(matches!(self.stage, Stage::Over))
    }
}

impl fmt::Debug for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Crossing");
        debug.field("direction", &self.direction).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
