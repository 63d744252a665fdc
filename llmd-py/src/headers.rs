//! Changes to the headers of a request, as Python sees them.

use std::collections::BTreeMap;

use llmd_routing::Headers;
use pyo3::prelude::*;

/// Changes to the headers of a request on its way to the endpoints: first what is removed, then what is set.
#[pyclass(frozen, get_all, eq, module = "llmd_py")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HeaderChanges {
    /// Names, in lower case, of headers that the client may have sent and that go no further.
    remove: Vec<String>,
    /// Headers in the place of those of the same name.
    set: BTreeMap<String, String>,
    /// Where the request is sent (`host:port`) in the place of its endpoint's address; None where it is sent there.
    destination: Option<String>,
}

impl From<llmd_routing::plugin::HeaderChanges> for HeaderChanges {
    fn from(changes: llmd_routing::plugin::HeaderChanges) -> Self {
        let remove = changes.remove.into_iter().map(Into::into).collect();
        Self { remove, set: by_name(&changes.set), destination: changes.destination }
    }
}

#[pymethods]
impl HeaderChanges {
    fn __repr__(&self) -> String {
        format!("HeaderChanges(remove={:?}, set={:?}, destination={:?})", self.remove, self.set, self.destination)
    }
}

/// Headers by their names. Of several by one name, the last.
pub(crate) fn by_name(headers: &Headers) -> BTreeMap<String, String> {
    headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
