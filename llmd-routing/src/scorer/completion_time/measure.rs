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
            let context = picked.endpoint.in_flight().context().saturating_add(self.tokens) as f64;
            let seconds_per_token = self.parameters.step(context);
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
        let Some(made) = usage.completion_tokens.filter(|&made| made > 1) else { return };
        let meanwhile = endpoint.in_flight().computed().wrapping_sub(computed) as f64;
        let seconds_per_prompt_token = self.parameters.per_prompt_token(endpoint.metrics().as_deref());
        let expected = made as f64 * seconds_per_token + meanwhile * seconds_per_prompt_token;
        endpoint.decoded(now.saturating_sub(first), expected);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn an_answer_is_expected_to_take_its_steps_and_the_prompts_that_are_computed_meanwhile() {
        let pool = pool(2);
        let _others = pool[1].in_flight().admit_with_context(0, 4000);
        let mut request = Measure::new(PARAMETERS, 6000);
        request.picked(&Picked::new(&pool[0], &pool, Duration::ZERO).of(Stage::Prefill));
        request.picked(&Picked::new(&pool[1], &pool, Duration::ZERO));
        request.first_token(Duration::from_secs(5));
        let other = pool[1].in_flight().admit(3000);
        other.release_tokens();
        // 100 steps of 10 ms and 1 ms for each 1000 of the 10,000 tokens that are read, and 3 s of another's prompt.
        request.end(Duration::from_secs(15), &made(100));
        assert_eq!(pool[1].pace(), Some(10.0 / (2.0 + 3.0)));
        assert_eq!(pool[0].pace(), None, "it decoded nothing");
    }

    #[test]
    fn what_has_no_first_token_or_no_second_says_nothing() {
        let pool = pool(1);
        let ends = |first: bool, usage: Usage| {
            let mut request = Measure::new(PARAMETERS, 100);
            request.picked(&Picked::new(&pool[0], &pool, Duration::ZERO));
            if first {
                request.first_token(Duration::from_secs(1));
            }
            request.end(Duration::from_secs(2), &usage);
            pool[0].pace()
        };
        assert_eq!(ends(false, made(100)), None);
        assert_eq!(ends(true, made(1)), None);
        assert_eq!(ends(true, Usage::default()), None);
        assert!(ends(true, made(100)).is_some());
    }
}
