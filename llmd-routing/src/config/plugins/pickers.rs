//! Pickers, from their parameters.

use super::{Blueprint, Result};
use crate::picker::{
    MaxScorePicker, Parameters, PowerOfTwoPicker, RandomPicker, RoundRobinPicker, WeightedRandomPicker,
};
use crate::plugin::Picker;

pub(in crate::config) fn max_score_picker(parameters: Parameters) -> Result<Blueprint> {
    picker(&parameters, MaxScorePicker::new)
}

pub(in crate::config) fn power_of_two_picker(parameters: Parameters) -> Result<Blueprint> {
    picker(&parameters, PowerOfTwoPicker::new)
}

pub(in crate::config) fn random_picker(parameters: Parameters) -> Result<Blueprint> {
    picker(&parameters, RandomPicker::new)
}

pub(in crate::config) fn weighted_random_picker(parameters: Parameters) -> Result<Blueprint> {
    picker(&parameters, WeightedRandomPicker::new)
}

pub(in crate::config) fn round_robin_picker(parameters: Parameters) -> Result<Blueprint> {
    picker(&parameters, RoundRobinPicker::new)
}

fn picker<P: Picker + 'static>(parameters: &Parameters, make: fn(usize) -> P) -> Result<Blueprint> {
    let picks = parameters.picks();
    Ok(Blueprint::picker(move || make(picks)))
}
