//! Admitters, from their parameters.

use super::{Blueprint, DEFAULT_LATENCY_PRODUCER, Fault, Result, number_within};
use crate::admitter::{LatencySloAdmitter, LatencySloParameters, ProbabilisticAdmitter, ProbabilisticParameters};

pub(in crate::config) fn latency_slo_admitter(parameters: LatencySloParameters) -> Result<Blueprint> {
    let LatencySloParameters { latency_prediction_info_producer_name: producer, denial_status: status } = parameters;
    error_status(status)?;
    let producer = producer.filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT_LATENCY_PRODUCER.to_owned());
    Ok(Blueprint::admitter(move || LatencySloAdmitter::new(producer.clone()).with_status(status)))
}

pub(in crate::config) fn probabilistic_admitter(parameters: ProbabilisticParameters) -> Result<Blueprint> {
    error_status(parameters.denial_status)?;
    let numbers = [
        (parameters.queue_depth_threshold as f64, "queueDepthThreshold"),
        (parameters.kv_cache_util_threshold, "kvCacheUtilThreshold"),
        (parameters.power, "power"),
        (parameters.k, "k"),
    ];
    for (number, field) in numbers {
        number_within(number > 0.0 && number.is_finite(), number, "above 0", field)?;
    }
    let settings = parameters.into();
    Ok(Blueprint::admitter(move || ProbabilisticAdmitter::new(settings)))
}

/// Refuses a status that does not say that something went wrong.
fn error_status(status: u16) -> Result<()> {
    if (400..600).contains(&status) {
        return Ok(());
    }
    let message = format!("status {status} where one from 400 to 599 was expected");
    Err(Fault::invalid(message).within("denialStatus"))
}
