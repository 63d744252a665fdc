//! One configuration in the place of another.

use llmd_core::Result;

use super::build::assemble;
use super::document::EndpointPickerConfig;
use crate::Scheduler;

impl Scheduler {
    /// Puts another configuration in the place of this one, between two requests.
    ///
    /// The index stays, and so do the requests in flight and the decisions already made, which go on as they began. A
    /// plugin whose name, type and parameters are the same keeps what it remembers: sessions and where they are bound, and
    /// which prompts were sent where. What the shell must do may change: see [`needs`](Self::needs).
    ///
    /// # Errors
    ///
    /// As [`SchedulerBuilder::build`](crate::SchedulerBuilder::build); the old configuration then stays.
    pub fn reload(&self, config: EndpointPickerConfig) -> Result<()> {
        self.renew(|before| assemble(config, before))
    }

    /// The same, with llm-d's YAML.
    ///
    /// # Errors
    ///
    /// As [`EndpointPickerConfig::from_yaml`] and [`SchedulerBuilder::build`](crate::SchedulerBuilder::build); the old configuration then stays.
    pub fn reload_yaml(&self, text: &str) -> Result<()> {
        self.reload(EndpointPickerConfig::from_yaml(text)?)
    }
}
