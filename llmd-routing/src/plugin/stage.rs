//! The steps in which engines serve a request, and what becomes of it when one of them cannot be done.

use std::fmt;
use std::time::Duration;

/// One step of serving a request, in the order in which they are done.
///
/// Without a stage of its own, a step is done by the endpoint of the next one: an aggregated engine does all in
/// [`Decode`](Self::Decode).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "an engine does these three, and a driver must do each")]
pub enum Stage {
    /// Multimodal items become embeddings.
    Encode,
    /// The prompt becomes KV.
    Prefill,
    /// Tokens come out: the stage that every request has, and that answers.
    #[default]
    Decode,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 3] = [Self::Encode, Self::Prefill, Self::Decode];
}

/// As llm-d's default names of profiles.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decode => "decode",
            Self::Encode => "encode",
            Self::Prefill => "prefill",
        })
    }
}

/// What becomes of a request when no endpoint can do one of its stages.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fallback {
    /// The request is refused.
    #[default]
    Fail,
    /// The endpoint of the next stage does it as well.
    NextStage,
}

/// What a profile handler says of one stage.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct StagePolicy {
    /// What becomes of the request when nobody is left who could do the stage.
    pub fallback: Fallback,
    /// How long the stage may take, from when it is begun; `None` is as long as the whole request.
    pub deadline: Option<Duration>,
}

impl StagePolicy {
    /// This fallback, and no deadline.
    pub const fn new(fallback: Fallback) -> Self {
        Self { fallback, deadline: None }
    }

    /// The same, with this deadline.
    #[must_use]
    pub const fn within(self, deadline: Duration) -> Self {
        Self { deadline: Some(deadline), ..self }
    }
}
