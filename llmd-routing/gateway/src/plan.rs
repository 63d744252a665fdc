//! What the configuration asks of the shell: which tokens, which events, which blocks.

mod refused;

use std::path::Path;
use std::sync::Arc;

use llmd_core::index::{ExactIndex, ExactReader, IndexSettings};
use llmd_core::{Error, ErrorKind, Result};
use llmd_routing::config::TokenBackend;
use llmd_routing::{EndpointPickerConfig, Needs, Scheduler};

use crate::tokenize::Tokenizer;

/// llm-d's default configuration: a document that names no plugin.
const DEFAULT_CONFIG: &str = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n";

/// What the configuration asks of the shell, and schedulers as it says.
#[derive(Debug)]
pub(crate) struct Plan {
    config: EndpointPickerConfig,
    experimental: bool,
    needs: Needs,
    tokens: TokenSource,
}

/// Where tokens come from.
#[derive(Clone, Debug)]
pub(crate) enum TokenSource {
    /// From the bytes of the prompt, as llm-d estimates them.
    Estimate,
    /// From a tokenizer in this process.
    Local(Arc<Tokenizer>),
}

impl Plan {
    /// Reads the tokenizer, if one is needed, and makes one scheduler to see that it can be made.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when plugins do not fit together or a tokenizer cannot be read, [`ErrorKind::Unsupported`]
    /// for what is not there yet.
    pub(crate) fn new(config: Option<EndpointPickerConfig>, experimental: bool) -> Result<Self> {
        let config = config.map_or_else(|| EndpointPickerConfig::from_yaml(DEFAULT_CONFIG), Ok)?;
        config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        refused::refuse(&config)?;
        let mut plan = Self { config, experimental, needs: Needs::default(), tokens: TokenSource::Estimate };
        let (_, index) = ExactIndex::new(plan.index_settings(None));
        plan.needs = plan.scheduler(index)?.needs();
        if plan.needs.tokens {
            plan.tokens = token_source(plan.config.token_producer().backend)?;
        }
        Ok(plan)
    }

    pub(crate) fn needs(&self) -> Needs {
        self.needs
    }

    pub(crate) fn token_source(&self) -> TokenSource {
        self.tokens.clone()
    }

    /// Whether engines must be asked how large their blocks are: there is an index, and the configuration does not say.
    pub(crate) fn asks_block_size(&self) -> bool {
        self.needs.events && self.config.kv_events().is_none_or(|events| events.block_size.is_none())
    }

    /// What an index is made with, under a secret of its own: the configuration's block size, else the engines'.
    pub(crate) fn index_settings(&self, engine_block_size: Option<usize>) -> IndexSettings {
        let settings = IndexSettings::default();
        let Some(events) = self.config.kv_events() else { return settings };
        let block_size = events.block_size.or(engine_block_size).unwrap_or(settings.block_size);
        settings.with_block_size(block_size).with_max_blocks(settings.max_blocks.min(events.max_blocks))
    }

    /// The ports at which every engine publishes and replays KV events, and the topic, for engines that do not say so
    /// themselves.
    pub(crate) fn event_ports(&self) -> Option<(u16, Option<u16>, &str)> {
        let events = self.config.kv_events()?;
        Some((events.socket_port, events.replay_socket_port, &events.topic_filter))
    }

    /// A new scheduler, which asks this index where it asks one.
    pub(crate) fn scheduler(&self, index: ExactReader) -> Result<Scheduler> {
        Scheduler::builder(self.config.clone()).allow_experimental(self.experimental).with_index(index).build()
    }
}

fn token_source(backend: TokenBackend) -> Result<TokenSource> {
    match backend {
        TokenBackend::Estimate => Ok(TokenSource::Estimate),
        TokenBackend::Local { chat_template: Some(path), .. } => {
            let message =
                format!("chatTemplate {path:?} is not read yet; put it beside the tokenizer as chat_template.jinja");
            Err(Error::new(ErrorKind::Unsupported, message))
        }
        TokenBackend::Local { path, .. } => {
            let path = Path::new(&path);
            let file = if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() };
            Ok(TokenSource::Local(Arc::new(Tokenizer::load(&file)?)))
        }
        other => {
            let message = format!("a token-producer by {other:?} is not there yet; use `local`, or `estimate`");
            Err(Error::new(ErrorKind::Unsupported, message))
        }
    }
}
