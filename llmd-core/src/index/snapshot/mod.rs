//! An index as bytes: what `docs/wire/snapshot.md` says, whatever the index is made of.
//!
//! [`envelope`] tells a snapshot from anything else and from a damaged one; [`records`] are what stands in it, one after
//! the other.

mod cursor;
mod envelope;
mod records;
mod standing;

pub(super) use cursor::{Cursor, put_name};
pub(super) use envelope::{Head, open, seal};
pub(super) use records::{BlockRecord, CopiesRecord, GoneRecord, GroupRecord, PathRecord, PlaceRecord, WaitingRecord};
pub use standing::Standing;
