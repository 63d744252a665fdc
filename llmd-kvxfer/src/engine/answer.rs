//! What a worker has for its engine.

use crate::session::RequestId;
use crate::session::decode::FailedBlock;

/// What came of requests since it was taken last.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Done {
    /// Requests of which others have what they wanted, or nobody wants anything any more: their blocks may be reused.
    pub sent: Vec<RequestId>,
    /// Requests that were to be fetched and are here, whole or not; each once, those that were aborted meanwhile included.
    pub received: Vec<RequestId>,
    /// Of those, what is not here.
    pub failed: Vec<Failed>,
}

/// What could not be fetched of one request.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Failed {
    /// Which request.
    pub request: RequestId,
    /// Which of its blocks.
    pub blocks: Vec<FailedBlock>,
}
