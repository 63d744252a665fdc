//! Why a request is sent nowhere, in the words of HTTP and of llm-d.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use llmd_core::{Error, ErrorKind};

/// Why a request is sent nowhere: the status of the answer, and the reason in llm-d's words.
///
/// It is the source of the [`Error`] that a decision ends with, see [`Refusal::of`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// The HTTP status of the answer.
    pub status: u16,
    /// What llm-d says in the header `x-llm-d-request-dropped-reason`; `None` where it says nothing.
    pub reason: Option<&'static str>,
    /// What happened.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// The reason when every candidate was taken out for what it is busy with.
    pub const SATURATED: &str = "rejected-saturated";
    /// The reason when nobody is there.
    pub const NO_ENDPOINTS: &str = "rejected-no-endpoints";

    /// An answer of this status.
    pub fn new(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason: None, message: message.into() }
    }

    /// 429: not now, there is too much to do.
    pub fn saturated(message: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: Some(Self::SATURATED), ..Self::new(429, message) }
    }

    /// 503: nobody is there.
    pub fn no_endpoints(message: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: Some(Self::NO_ENDPOINTS), ..Self::new(503, message) }
    }

    /// The refusal that an error comes from; `None` when it comes from something else.
    pub fn of(error: &Error) -> Option<&Self> {
        error.source()?.downcast_ref()
    }

    const fn kind(&self) -> ErrorKind {
        match self.status {
            401 | 403 => ErrorKind::Denied,
            412 => ErrorKind::Stale,
            429 => ErrorKind::Exhausted,
            502..=504 => ErrorKind::Unavailable,
            400..=499 => ErrorKind::Invalid,
            _ => ErrorKind::Internal,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Refusal {}

/// The kind follows from the status: 401 and 403 are denied, 412 is stale, 429 exhausted, 502 to 504 unavailable.
impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind(), refusal.message.clone()).with_source(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_status_in_the_error_that_comes_of_it() {
        let table = [
            (Refusal::saturated("full"), ErrorKind::Exhausted),
            (Refusal::no_endpoints("nobody"), ErrorKind::Unavailable),
            (Refusal::new(403, "no"), ErrorKind::Denied),
            (Refusal::new(412, "not cached"), ErrorKind::Stale),
            (Refusal::new(400, "what"), ErrorKind::Invalid),
            (Refusal::new(500, "oh"), ErrorKind::Internal),
        ];
        for (refusal, kind) in table {
            let error = Error::from(refusal.clone());
            assert_eq!((error.kind(), error.to_string()), (kind, refusal.message.to_string()));
            assert_eq!(Refusal::of(&error), Some(&refusal));
        }
        assert_eq!(Refusal::of(&Error::new(ErrorKind::Invalid, "another")), None);
    }
}
