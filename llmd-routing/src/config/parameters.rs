//! A plugin's parameters: one type says what they are, to those who read them and to those who write them.

use serde::de::DeserializeOwned;

use super::blueprint::Blueprint;
use super::fault::Result;
use super::node::Node;

/// A type that parameters are read into, strictly; feature `schema` wants its JSON Schema too.
#[cfg(not(feature = "schema"))]
pub(super) trait Parameters: DeserializeOwned {}

/// A type that parameters are read into, strictly, and whose JSON Schema says what those may be.
#[cfg(feature = "schema")]
pub(super) trait Parameters: DeserializeOwned + schemars::JsonSchema {}

#[cfg(not(feature = "schema"))]
impl<P: DeserializeOwned> Parameters for P {}

#[cfg(feature = "schema")]
impl<P: DeserializeOwned + schemars::JsonSchema> Parameters for P {}

/// Reads parameters, and makes of them how the plugin is made.
pub(super) struct Reader<P>(pub(super) fn(P) -> Result<Blueprint>);

/// A [`Reader`] of any parameters.
pub(super) trait Read: Sync {
    fn read(&self, parameters: &Node) -> Result<Blueprint>;

    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut schemars::SchemaGenerator) -> schemars::Schema;
}

impl<P: Parameters> Read for Reader<P> {
    fn read(&self, parameters: &Node) -> Result<Blueprint> {
        parameters.parameters().and_then(self.0).map_err(|fault| parameters.locate(fault))
    }

    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        P::json_schema(generator)
    }
}
