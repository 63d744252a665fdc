//! Measures how fast an endpoint decodes, by what it was expected to take.

use std::sync::Arc;
use std::time::Duration;

use super::Parameters;
use crate::plugin::{Hooks, Picked, Stage};
use crate::{Endpoint, Usage};

/// Follows one request to its end.
///
/// While an engine decodes it computes the prompts of others too, which lengthens an answer by as long as that takes. Both
/// are expected, so that engines differ by how fast they are, and not by what was sent there.
#[derive(Debug)]
pub(super) struct Measure {
    parameters: Parameters,
    /// Tokens that it will have in the cache.
    tokens: u64,
    decodes: Option<Decodes>,
}

/// No engine takes less time for a token of one answer. One that comes faster was made before its first byte was sent, as those
/// are that are not streamed: how long that took, nobody saw.
const FASTEST: Duration = Duration::from_micros(100);

/// Who decodes it.
#[derive(Debug)]
struct Decodes {
    endpoint: Arc<Endpoint>,
    seconds_per_token: f64,
    /// When its first token came, and how many tokens of prompts had been computed there by then.
    first: Option<(Duration, u64)>,
}

impl Measure {
    /// A request that will have so many tokens in the cache.
    pub(super) const fn new(parameters: Parameters, tokens: u64) -> Self {
        Self { parameters, tokens, decodes: None }
    }
}

impl Hooks for Measure {
    fn picked(&mut self, picked: &Picked<'_>) {
        if picked.stage == Stage::Decode {
            // It counts itself by now, unless requests count from when they are sent.
            let context = picked.endpoint.in_flight().context().max(self.tokens);
            let seconds_per_token = self.parameters.step(context as f64);
            self.decodes = Some(Decodes { endpoint: Arc::clone(picked.endpoint), seconds_per_token, first: None });
        }
    }

    fn first_token(&mut self, now: Duration) {
        if let Some(decodes) = &mut self.decodes {
            decodes.first = Some((now, decodes.endpoint.in_flight().computed()));
        }
    }

    fn end(&mut self, now: Duration, usage: &Usage) {
        let Some(Decodes { endpoint, seconds_per_token, first: Some((first, computed)) }) = self.decodes.take() else {
            return;
        };
        // The first token was there when this began.
        let steps = usage.completion_tokens.unwrap_or(0).saturating_sub(1);
        let took = now.saturating_sub(first);
        if steps == 0 || took < FASTEST.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX)) {
            return;
        }
        let meanwhile = endpoint.in_flight().computed().wrapping_sub(computed) as f64;
        let (seconds_per_prompt_token, _) = self.parameters.per_prompt_token(endpoint.metrics().as_deref());
        let expected = steps as f64 * seconds_per_token + meanwhile * seconds_per_prompt_token;
        endpoint.in_flight().pace().measured(now, took, expected);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pool;
    use crate::testing::pool;

    const PARAMETERS: Parameters = Parameters {
        prefill_tokens_per_second: 1000.0,
        step_ms: 10.0,
        read_ms_per_kilo_token: 1.0,
        eviction_cost: 0.0,
        recompute_cost: 0.0,
    };

    fn made(tokens: u64) -> Usage {
        Usage { completion_tokens: Some(tokens), ..Usage::default() }
    }

    /// Eight of these requests, of which each says the same, at the second of two endpoints.
    fn pace(request: impl Fn(&Pool)) -> Option<f64> {
        let pool = pool(2);
        (0..8).for_each(|_| request(&pool));
        assert_eq!(pool[0].pace(END), None, "it decodes nothing");
        pool[1].pace(END)
    }

    const END: Duration = Duration::from_secs(15);

    /// A request of 6000 tokens in all, whose first token comes after 5 s and which ends after 15.
    fn ends(pool: &Pool, usage: Usage, meanwhile: impl FnOnce()) {
        let mut request = Measure::new(PARAMETERS, 6000);
        let _counted = pool[1].in_flight().admit_with_context(0, 6000);
        request.picked(&Picked::new(&pool[0], pool, Duration::ZERO).of(Stage::Prefill));
        request.picked(&Picked::new(&pool[1], pool, Duration::ZERO));
        request.first_token(Duration::from_secs(5));
        meanwhile();
        request.end(END, &usage);
    }

    #[test]
    fn an_answer_is_expected_to_take_its_steps_and_the_prompts_that_are_computed_meanwhile() {
        let pace = pace(|pool| {
            let other = pool[1].in_flight().admit_with_context(3000, 4000);
            ends(pool, made(101), || other.computed(3000));
        });
        // 100 steps of 10 ms and 1 ms for each 1000 of the 10,000 tokens that are read, and 3 s of another's prompt.
        assert!((pace.unwrap() - 10.0 / (2.0 + 3.0)).abs() < 1e-12);
    }

    #[test]
    fn what_has_no_first_token_or_no_second_says_nothing() {
        assert_eq!(pace(|pool| ends(pool, made(1), || {})), None);
        assert_eq!(pace(|pool| ends(pool, Usage::default(), || {})), None);
        let unanswered = |pool: &Pool| {
            let mut request = Measure::new(PARAMETERS, 100);
            request.picked(&Picked::new(&pool[1], pool, Duration::ZERO));
            request.end(END, &made(100));
        };
        assert_eq!(pace(unanswered), None);
    }

    #[test]
    fn an_answer_that_comes_whole_says_nothing() {
        let whole = |pool: &Pool, took: u64| {
            let mut request = Measure::new(PARAMETERS, 100);
            request.picked(&Picked::new(&pool[1], pool, Duration::ZERO));
            request.first_token(END.saturating_sub(Duration::from_micros(took)));
            request.end(END, &made(101));
        };
        assert_eq!(pace(|pool| whole(pool, 50)), None);
        assert_eq!(pace(|pool| whole(pool, 9_999)), None);
        assert!(pace(|pool| whole(pool, 10_000)).is_some());
    }
}
