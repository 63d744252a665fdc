//! One request, as a scheduler sees it.

use std::borrow::Cow;

use llmd_core::TokenId;
use llmd_core::hash::Namespace;

/// One request, as a scheduler sees it: whoever receives it fills in what [`Needs`](crate::Needs) asks for, and
/// nothing else.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Request {
    /// The id that logs and traces know it by.
    pub id: String,
    /// The model that the client asks for.
    pub model: String,
    /// Headers, with names in lower case.
    pub headers: Headers,
    /// The prompt; `None` when no configured plugin needs tokens.
    pub tokens: Option<Vec<TokenId>>,
    /// What the prompt is computed under, besides its tokens.
    pub namespace: Namespace,
    /// At most how many tokens the client wants back.
    pub max_output_tokens: Option<u32>,
    /// How important it is: what is below 0 may be refused when there is too much to do. llm-d's `InferenceObjective`.
    pub priority: i32,
    /// Whose it is. What the scheduler remembers under names that clients choose, it remembers for each tenant by itself;
    /// what engines keep apart is [`Namespace::cache_salt`].
    pub tenant: Option<String>,
}

impl Request {
    /// A request of this id for this model.
    pub fn new(id: impl Into<String>, model: impl Into<String>) -> Self {
        Self { id: id.into(), model: model.into(), ..Self::default() }
    }

    /// The same, with these headers.
    #[must_use]
    pub fn with_headers(self, headers: Headers) -> Self {
        Self { headers, ..self }
    }

    /// The same, with this prompt.
    #[must_use]
    pub fn with_tokens(self, tokens: impl Into<Vec<TokenId>>) -> Self {
        Self { tokens: Some(tokens.into()), ..self }
    }

    /// The same, computed under this.
    #[must_use]
    pub fn with_namespace(self, namespace: Namespace) -> Self {
        Self { namespace, ..self }
    }

    /// The same, for this tenant.
    #[must_use]
    pub fn of_tenant(self, tenant: impl Into<String>) -> Self {
        Self { tenant: Some(tenant.into()), ..self }
    }

    /// The same, of this priority.
    #[must_use]
    pub fn with_priority(self, priority: i32) -> Self {
        Self { priority, ..self }
    }

    /// How many tokens the prompt has; 0 when nobody made them.
    pub fn prompt_tokens(&self) -> usize {
        self.tokens.as_ref().map_or(0, Vec::len)
    }
}

/// How many tokens a request makes that does not say how many it wants.
const USUAL_OUTPUT: u64 = 256;

/// Who asks for more than this sets a limit, and does not expect so much.
const LONG_OUTPUT: u64 = 4096;

/// How many tokens a request is expected to make that wants so many at most.
pub(crate) fn expected_output(max_output_tokens: Option<u32>) -> u64 {
    max_output_tokens.map_or(USUAL_OUTPUT, u64::from).min(LONG_OUTPUT)
}

/// The headers of a request: few, and read by name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Headers(Vec<(Cow<'static, str>, String)>);

impl Headers {
    /// Adds a header. The name is kept in lower case.
    pub fn insert(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        let mut name = name.into();
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            name.to_mut().make_ascii_lowercase();
        }
        self.0.push((name, value.into()));
    }

    /// The first header of this name, which is in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every header.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_str()))
    }
}

impl<N: Into<Cow<'static, str>>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut all = Self::default();
        for (name, value) in headers {
            all.insert(name, value);
        }
        all
    }
}
