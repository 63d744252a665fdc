//! How the decoder's side behaves.

use std::time::Duration;

use llmd_core::Result;

use crate::session::params::invalid;

/// How an engine takes tokens from outside.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Loading {
    /// Within the step that goes on with them: they end with a block, and leave a token to compute.
    InStep,
    /// Between steps: they may be the whole prompt, and the engine steps back by one token itself.
    InBackground,
}

/// How the decoder's side behaves, and what bounds it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// How many tokens a block has by which the engine counts its hits. Default: 16.
    pub block_tokens: u32,
    /// How the engine takes tokens from outside. Default: [`Loading::InBackground`].
    pub loading: Loading,
    /// Fewer tokens than these are computed here. Default: 1.
    pub min_tokens: u32,
    /// How long a request may wait for its turn while its leases are kept. Default: 480 s.
    pub wait_at_most: Duration,
    /// How long fetching may take, all tries together, whatever the leases say. Default: 20 s.
    pub fetch_within: Duration,
    /// How often a part is fetched once more after the peer was lost. Default: 1.
    pub retries: u32,
    /// How long after. Default: 100 ms.
    pub retry_after: Duration,
    /// After how long without an answer a fetch is cancelled once more. Default: 1 s.
    pub ask_again: Duration,
    /// At most how many requests are held. Default: 4096.
    pub max_requests: usize,
    /// At most how many actions wait to be polled while new requests are taken. Default: 65 536.
    pub max_actions: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            block_tokens: 16,
            loading: Loading::InBackground,
            min_tokens: 1,
            wait_at_most: Duration::from_secs(480),
            fetch_within: Duration::from_secs(20),
            retries: 1,
            retry_after: Duration::from_millis(100),
            ask_again: Duration::from_secs(1),
            max_requests: 4096,
            max_actions: 65_536,
        }
    }
}

impl Settings {
    /// At which token what comes from outside ends at the latest, when a prefiller offers so many of a prompt of so many, which is not
    /// empty.
    pub(crate) fn end(&self, offered_tokens: u32, prompt_tokens: u32) -> u32 {
        let here = offered_tokens.min(prompt_tokens);
        let full = |tokens: u32| tokens - tokens % self.block_tokens;
        match self.loading {
            Loading::InBackground if here == prompt_tokens => here,
            Loading::InBackground => full(here),
            Loading::InStep => full(here.min(prompt_tokens - 1)),
        }
    }

    /// How many tokens come from outside behind those that are here, when they end there at the latest: 0 when it is not worth it.
    pub(crate) const fn matched(&self, end: u32, local_tokens: u32) -> u32 {
        let tokens = end.saturating_sub(local_tokens);
        if tokens < self.min_tokens { 0 } else { tokens }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let times = [
            ("wait_at_most", self.wait_at_most),
            ("fetch_within", self.fetch_within),
            ("retry_after", self.retry_after),
            ("ask_again", self.ask_again),
        ];
        for (name, time) in times {
            if time < Duration::from_millis(1) {
                return Err(invalid(format!("{name} {time:?}: expected 1ms or more")));
            }
        }
        let numbers = [
            ("block_tokens", self.block_tokens as usize),
            ("max_requests", self.max_requests),
            ("max_actions", self.max_actions),
        ];
        for (name, number) in numbers {
            if number == 0 {
                return Err(invalid(format!("{name} 0: expected 1 or more")));
            }
        }
        Ok(())
    }
}
