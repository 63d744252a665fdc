//! What holds across crates: floors, captures of real engines, and real processes that get killed.

pub mod checkout;
pub mod floors;
pub mod machine_path;
pub mod page;
pub mod source;
