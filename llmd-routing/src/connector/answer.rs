//! What a prefiller's response says of KV.

use std::borrow::Cow;

use llmd_core::protocol::KV_TRANSFER_PARAMS;
use llmd_core::{Error, ErrorKind, Result};
use serde_json::value::RawValue;

use super::body::Body;
use super::fault::{is_null, wrong};

/// The response of a prefill that succeeded.
#[derive(Debug)]
pub(super) struct Answer<'a>(Body<'a>);

impl<'a> Answer<'a> {
    /// Reads the response that a decode of `connector` needs.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when there is none, [`ErrorKind::Corrupt`] when it is no JSON object.
    pub(super) fn read(connector: &str, response: Option<&'a [u8]>) -> Result<Self> {
        let Some(bytes) = response else {
            let message = format!("{connector} decodes after prefill: expected the prefill's response");
            return Err(Error::new(ErrorKind::Invalid, message));
        };
        Body::read(bytes, "the prefill's response", ErrorKind::Corrupt).map(Self)
    }

    /// All of it.
    pub(super) const fn body(&self) -> &Body<'a> {
        &self.0
    }

    /// Its `kv_transfer_params`, as they were written. `None` when it has none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] when they are no object.
    pub(super) fn into_params(mut self) -> Result<Option<Cow<'a, RawValue>>> {
        let Some(params) = self.0.take(KV_TRANSFER_PARAMS).filter(|params| !is_null(params)) else { return Ok(None) };
        if Body::of(&params).is_none() {
            return Err(wrong(ErrorKind::Corrupt, KV_TRANSFER_PARAMS, &params, "an object"));
        }
        Ok(Some(params))
    }
}

/// The fields of these params, to be changed.
pub(super) fn fields(params: &RawValue) -> Body<'_> {
    Body::of(params).expect("an answer's params are an object")
}

/// The value that says that there are none.
pub(super) fn nothing<'a>() -> Cow<'a, RawValue> {
    Cow::Borrowed(RawValue::NULL)
}
