//! Waiting for a condition, with a deadline.

use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks until the answer is `Ok(true)`.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when it is not by the deadline, with the last error if there was one.
pub(crate) async fn until<F: Future<Output = Result<bool>>>(deadline: Duration, ask: impl Fn() -> F) -> Result<()> {
    let mut last = None;
    let asking = async {
        loop {
            match ask().await {
                Ok(true) => return,
                Ok(false) => last = None,
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    if tokio::time::timeout(deadline, asking).await.is_ok() {
        return Ok(());
    }
    let why = last.map_or_else(String::new, |error| format!(": {error}"));
    Err(Error::new(ErrorKind::Unavailable, format!("still not so after {deadline:?}{why}")))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn it_waits_until_the_answer_is_yes() {
        let asked = Cell::new(0);
        let ask = || async {
            asked.set(asked.get() + 1);
            Ok(asked.get() == 5)
        };
        until(Duration::from_secs(10), ask).await.unwrap();
        assert_eq!(asked.get(), 5);
    }

    #[tokio::test]
    async fn at_the_deadline_the_last_error_is_told() {
        let down = || async { Err(Error::new(ErrorKind::Unavailable, "connection refused")) };
        let error = until(Duration::from_millis(30), down).await.unwrap_err();
        assert_eq!(error.to_string(), "still not so after 30ms: connection refused");
    }
}
