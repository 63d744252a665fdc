//! The parts of the bench. Each is a command, says rows, and may run in a process of its own.

pub(crate) mod cell;
pub(crate) mod events;
pub(crate) mod fanout;
pub(crate) mod fuzz;
pub(crate) mod growth;
pub(crate) mod hash;
pub(crate) mod memory;
pub(crate) mod readers;
pub(crate) mod truth;
