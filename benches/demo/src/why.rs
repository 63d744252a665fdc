//! Asking why: how the gateway explains the slowest request of a race.

use llmd_core::Result;

use crate::client::{Client, Sample};

/// The slowest request and what the gateway says about it.
#[derive(Clone, Debug)]
pub(crate) struct Explanation {
    pub(crate) sample: Sample,
    pub(crate) ttft_ms: f64,
    /// Plain text, as `GET /debug/decisions/{id}` gave it.
    pub(crate) text: String,
}

impl Explanation {
    /// Asks about the request that waited longest for its first token; none when no request got one.
    pub(crate) async fn of_slowest(client: &Client, samples: &[Sample]) -> Result<Option<Self>> {
        let Some((ttft_ms, sample)) = slowest(samples, client.speed) else { return Ok(None) };
        let url = format!("{}/debug/decisions/{}", client.gateway, sample.id);
        let text = client.http.text(&url).await?;
        Ok(Some(Self { sample: sample.clone(), ttft_ms, text }))
    }
}

fn slowest(samples: &[Sample], speed: f64) -> Option<(f64, &Sample)> {
    let timed = samples.iter().filter_map(|sample| Some((sample.ttft_ms(speed)?, sample)));
    timed.max_by(|(a, _), (b, _)| a.total_cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn the_slowest_is_the_one_that_waited_longest_for_its_first_token() {
        let result = crate::race::tests::result(Policy::ExactPrefix, 10.0, &[10, 90, 30]);
        let (ttft_ms, sample) = slowest(&result.samples, 10.0).unwrap();
        assert_eq!((ttft_ms, sample.id.as_str()), (900.0, "exact_prefix-1"));
        assert!(slowest(&[], 10.0).is_none());
    }
}
