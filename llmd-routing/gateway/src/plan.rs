//! What the configuration asks of the shell: which tokens, which events, which block size.

use std::sync::Arc;

use llmd_core::Result;
use llmd_core::index::PrefixIndex;
use llmd_routing::{EndpointPickerConfig, Needs, Scheduler};

use crate::tokenize::Tokenizer;

/// What the configuration asks of the shell, and schedulers as it says.
#[derive(Debug)]
pub(crate) struct Plan {
    config: EndpointPickerConfig,
    experimental: bool,
    needs: Needs,
}

/// Where tokens come from.
#[derive(Clone, Debug)]
pub(crate) enum TokenSource {
    /// From the bytes of the prompt, as llm-d estimates them.
    Estimate,
    /// From a tokenizer in this process.
    Local(Arc<Tokenizer>),
}

/// The ports at which every engine publishes KV events.
#[derive(Clone, Debug)]
pub(crate) struct EventPorts {
    pub(crate) socket: u16,
    pub(crate) replay: Option<u16>,
    pub(crate) topic: String,
}

impl Plan {
    pub(crate) fn new(config: Option<EndpointPickerConfig>, experimental: bool) -> Result<Self> {
        let config = config.unwrap_or_default();
        Ok(Self { config, experimental, needs: Needs::default() })
    }

    pub(crate) fn needs(&self) -> Needs { self.needs }
    pub(crate) fn block_size(&self) -> usize { 16 }
    pub(crate) fn token_source(&self) -> TokenSource { TokenSource::Estimate }
    pub(crate) fn event_ports(&self) -> Option<EventPorts> { None }
    pub(crate) fn scheduler(&self, index: Option<Arc<dyn PrefixIndex>>) -> Result<Scheduler> {
        let mut builder = Scheduler::builder(self.config.clone()).allow_experimental(self.experimental);
        if let Some(index) = index { builder = builder.with_index(index); }
        builder.build()
    }
}
