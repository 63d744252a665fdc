//! Conversations with engines: prompts that share beginnings and grow, more than the caches hold.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::TokenId;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::http;
use crate::sample::{Prompt, Prompts};

/// Conversations that one user has open at a time with an engine.
const OPEN: usize = 12;
/// Beginnings that all share.
const SYSTEMS: u32 = 4;
/// Tokens of each.
const SYSTEM_TOKENS: u32 = 300;
/// Tokens at which a conversation is given up for a new one.
const LONGEST: usize = 2_000;
/// How long a user waits when an engine does not answer.
const PAUSE: Duration = Duration::from_millis(20);

/// Users who ask until this is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    _users: Vec<AbortOnDropHandle<()>>,
}

impl Load {
    /// So many users for each engine begin to ask.
    pub(crate) fn begin(urls: &[String], users: usize, prompts: &Arc<Prompts>, seed: u64) -> Self {
        let each = urls.iter().flat_map(|url| (0..users).map(move |_| url.clone())).zip(seed..);
        let users = each.map(|(url, seed)| {
            let user = User { url, rng: StdRng::seed_from_u64(seed), prompts: Arc::clone(prompts) };
            AbortOnDropHandle::new(tokio::spawn(user.ask()))
        });
        Self { _users: users.collect() }
    }
}

struct User {
    url: String,
    rng: StdRng,
    prompts: Arc<Prompts>,
}

impl User {
    async fn ask(mut self) {
        let mut open: Vec<Vec<TokenId>> = (0..OPEN).map(|_| self.begin()).collect();
        loop {
            let nth = self.rng.random_range(0..OPEN);
            let more = self.rng.random_range(20..200);
            open[nth].extend((0..more).map(|_| self.rng.random_range(2_300..4_000)));
            let prompt: Prompt = open[nth].as_slice().into();
            self.prompts.sent(Arc::clone(&prompt));
            let body = json!({"model": "tiny", "prompt": &*prompt, "max_tokens": self.rng.random_range(1..20)});
            if http::ask(&self.url, "POST", "/v1/completions", &body.to_string()).await.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
            if open[nth].len() > LONGEST {
                open[nth] = self.begin();
            }
        }
    }

    fn begin(&mut self) -> Vec<TokenId> {
        let system = self.rng.random_range(0..SYSTEMS);
        (0..SYSTEM_TOKENS).map(|token| 1_000 + system * SYSTEM_TOKENS + token).collect()
    }
}
