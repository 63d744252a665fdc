//! Pickers: which of the scored candidates it shall be.

mod max_score;
mod power_of_two;
mod random;
mod round_robin;
mod weighted_random;

use serde::Deserialize;

pub use max_score::MaxScorePicker;
pub use power_of_two::PowerOfTwoPicker;
pub use random::RandomPicker;
pub use round_robin::RoundRobinPicker;
pub use weighted_random::WeightedRandomPicker;

/// The parameters of every picker.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    max_num_of_endpoints: i64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { max_num_of_endpoints: 1 }
    }
}

impl Parameters {
    /// How many endpoints are picked; what is not positive means 1.
    pub(crate) fn picks(&self) -> usize {
        usize::try_from(self.max_num_of_endpoints).unwrap_or(1).max(1)
    }
}
