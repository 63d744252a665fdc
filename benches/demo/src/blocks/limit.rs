//! What moving blocks is held against: two threads that copy as many bytes and do nothing else.

use std::time::Duration;

use super::{BLOCK_BYTES, BLOCKS};
use crate::clock::Clock;

/// Two buffers, of which one is copied into the other.
#[derive(Debug)]
pub(super) struct Plain {
    from: Vec<u8>,
    to: Vec<u8>,
    clock: Clock,
}

impl Plain {
    pub(super) fn new(clock: Clock) -> Self {
        let len = BLOCKS as usize * BLOCK_BYTES as usize;
        let mut plain = Self { from: vec![7; len], to: vec![1; len], clock };
        plain.copy();
        plain
    }

    /// Copies all of it, half by one thread and half by another, and says how long that took.
    pub(super) fn copy(&mut self) -> Duration {
        let half = self.from.len() / 2;
        let (from, to) = (self.from.split_at(half), self.to.split_at_mut(half));
        let began = self.clock.now();
        std::thread::scope(|scope| {
            scope.spawn(|| to.0.copy_from_slice(from.0));
            to.1.copy_from_slice(from.1);
        });
        std::hint::black_box(&self.to);
        self.clock.now() - began
    }
}
