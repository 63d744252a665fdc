//! Profile handlers: which profiles a request runs through, and which stage each of them chooses for.

mod by_header;
mod data_parallel;
mod disagg;
mod single;

pub use by_header::HeaderProfileHandler;
pub(crate) use by_header::Parameters as HeaderProfileParameters;
pub use data_parallel::DataParallelProfileHandler;
pub(crate) use data_parallel::Parameters as DataParallelParameters;
pub(crate) use disagg::Parameters as DisaggParameters;
pub use disagg::{DisaggProfileHandler, DisaggSettings, StageOrder};
pub use single::SingleProfileHandler;
