//! The parts of the bench. Each is a command, says rows, and may run in a process of its own.

pub(crate) mod cell;
pub(crate) mod events;
pub(crate) mod memory;
