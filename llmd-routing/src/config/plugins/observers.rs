//! Observers, from their parameters.

use llmd_core::ErrorKind;

use super::{Blueprint, Fault, NoParameters, Result};
use crate::observer::{
    AttributeConfig, DestinationEndpointServedVerifier, Expression, Kind, ReportedAttribute, ReporterParameters,
    RequestAttributeReporter,
};

pub(in crate::config) fn destination_endpoint_served_verifier(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::observer(DestinationEndpointServedVerifier::default))
}

pub(in crate::config) fn request_attribute_reporter(parameters: ReporterParameters) -> Result<Blueprint> {
    if parameters.attributes.is_empty() {
        return Err(Fault::invalid("no attribute where at least one was expected").within("attributes"));
    }
    let attributes = parameters.attributes.iter().enumerate();
    let attributes = attributes.map(|(place, attribute)| reported(attribute).map_err(|fault| fault.within_item(place)));
    let attributes: Vec<_> = attributes.collect::<Result<_>>().map_err(|fault| fault.within("attributes"))?;
    Ok(Blueprint::observer(move || RequestAttributeReporter::new(attributes.clone())))
}

fn reported(attribute: &AttributeConfig) -> Result<ReportedAttribute> {
    let (namespace, name) = attribute.key();
    if name.is_empty() {
        return Err(Fault::invalid("nothing where a name was expected").along(&["key", "name"]));
    }
    let number = |kind| kind != Kind::Bool;
    let expression =
        expression(&attribute.expression, "a number", number).map_err(|fault| fault.within("expression"))?;
    let condition = match attribute.condition.as_str() {
        "" => None,
        text => {
            let found = self::expression(text, "a condition", |kind| !number(kind));
            Some(found.map_err(|fault| fault.within("condition"))?)
        }
    };
    Ok(ReportedAttribute { namespace, name, expression, condition })
}

/// An expression of a kind that `fits`.
fn expression(text: &str, expected: &str, fits: impl Fn(Kind) -> bool) -> Result<Expression> {
    let expression = Expression::parse(text).map_err(|error| match error.kind() {
        ErrorKind::Unsupported => Fault::unsupported(error.to_string()),
        _ => Fault::invalid(error.to_string()),
    })?;
    match expression.kind() {
        kind if fits(kind) => Ok(expression),
        kind => Err(Fault::invalid(format!("it comes to {kind}, where {expected} was expected"))),
    }
}
