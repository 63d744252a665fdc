//! Bytes that nobody can guess.

use llmd_core::{Error, ErrorKind, Result};

/// So many, from the system's randomness.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when the system has none.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|cause| {
        Error::new(ErrorKind::Unavailable, "the system's random numbers cannot be had").with_source(cause)
    })?;
    Ok(bytes)
}
