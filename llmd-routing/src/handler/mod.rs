//! Profile handlers: which profiles a request runs through.

mod single;

pub use single::SingleProfileHandler;
