//! Arguments that more than one class takes.

use std::time::Duration;

use llmd_core::hash::{Lora, MultimodalItem, Namespace};
use pyo3::exceptions::PyOverflowError;
use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;
use pyo3::type_hint_identifier;

use crate::error::invalid;

/// A number that counts something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(pub(crate) u64);

impl Count {
    /// The count, where it counts what is in memory.
    pub(crate) fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromPyObject<'_, '_> for Count {
    type Error = PyErr;

    const INPUT_TYPE: PyStaticExpr = type_hint_identifier!("typing", "SupportsIndex");

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        object.extract().map(Self).map_err(|error: PyErr| {
            if error.is_instance_of::<PyOverflowError>(object.py()) {
                invalid(format!("{} is no count, expected 0 to {}", object.as_any(), u64::MAX))
            } else {
                error
            }
        })
    }
}

/// Items of a prompt that are not text: identifier, first placeholder token, number of placeholder tokens.
pub(crate) type Items = Vec<(String, Count, Count)>;

/// What a prompt is computed under, from the arguments that say it.
pub(crate) fn namespace(
    lora: Option<String>,
    lora_path: Option<String>,
    salt: Option<String>,
    mm: Option<Items>,
) -> PyResult<Namespace> {
    let mut namespace = Namespace::default();
    match (lora, lora_path) {
        (None, None) => {}
        (None, Some(path)) => return Err(invalid(format!("lora_path is {path:?} without lora, expected both"))),
        (Some(name), None) => namespace = namespace.with_lora(Lora::new(name)),
        (Some(name), Some(path)) => namespace = namespace.with_lora(Lora::new(name).with_path(path)),
    }
    if let Some(salt) = salt {
        namespace = namespace.with_cache_salt(salt);
    }
    if let Some(items) = mm {
        let items = items.into_iter().map(|(identifier, offset, len)| {
            let (offset, len) = (offset.in_memory(), len.in_memory());
            MultimodalItem { identifier, offset, len }
        });
        namespace = namespace.with_multimodal(items.collect::<Vec<_>>());
    }
    Ok(namespace)
}

/// A count of what is in memory, from the argument of this name.
pub(crate) fn count(argument: &str, value: i64) -> PyResult<usize> {
    usize::try_from(value).map_err(|_| invalid(format!("{argument} is {value}, expected 0 to {}", usize::MAX)))
}

/// A time in seconds, from the argument of this name.
pub(crate) fn seconds(argument: &str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| invalid(format!("{argument} is {value}, expected seconds from 0 to {}", u64::MAX)))
}
