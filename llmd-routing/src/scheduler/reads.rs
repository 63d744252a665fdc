//! Who reads what of whom: which producers run, and in which order.

use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};

use super::components::Named;
use crate::plugin::{Data, Plugin, Producer};
use crate::producer::InFlightLoad;

type Producers = Vec<Named<dyn Producer>>;

/// The producers, each after those that it reads from; else in the order in which they are given.
pub(super) fn in_order(mut producers: Producers) -> Result<Producers> {
    let mut ordered = Producers::new();
    while !producers.is_empty() {
        let makers = |data: &Data| producers.iter().any(|(_, maker)| provides(&maker.makes(), data));
        let ready = producers.iter().position(|(_, producer)| !producer.reads().iter().any(makers));
        let Some(ready) = ready else {
            let names: Vec<_> = producers.iter().map(|(name, _)| name.as_str()).collect();
            let message = format!("producers read from each other in a circle: {}", names.join(", "));
            return Err(Error::new(ErrorKind::Invalid, message));
        };
        ordered.push(producers.remove(ready));
    }
    Ok(ordered)
}

/// The producers that somebody reads from, the names of the others, and the producer that says how much of a prompt is
/// cached.
pub(super) fn wanted(
    plugins: &[Named<dyn Plugin>],
    producers: Producers,
    in_flight: &InFlightLoad,
) -> Result<(Producers, Vec<String>, Option<Arc<str>>)> {
    let mut read: Vec<(String, Data)> = plugins.iter().flat_map(|(name, plugin)| reads(name, &**plugin)).collect();
    let mut prefix = prefix_source(&read, in_flight, &producers)?;
    let mut runs = vec![false; producers.len()];
    // From the last to the first: who reads from a producer stands behind it.
    for place in (0..producers.len()).rev() {
        let (name, producer) = &producers[place];
        let made = producer.makes();
        runs[place] = prefix.as_deref() == Some(name)
            || read.iter().any(|(_, data)| *data != Data::AnyPrefixMatch && provides(&made, data));
        if runs[place] {
            read.extend(reads(name, &**producer));
            prefix = match prefix {
                None => prefix_source(&read, in_flight, &producers)?,
                known => known,
            };
        }
    }
    for (reader, data) in &read {
        present(&producers, reader, data)?;
    }
    let (mut running, mut idle) = (Vec::new(), Vec::new());
    for (producer, runs) in producers.into_iter().zip(runs) {
        if runs { running.push(producer) } else { idle.push(producer.0) }
    }
    Ok((running, idle, prefix))
}

fn reads(name: &str, plugin: &dyn Plugin) -> Vec<(String, Data)> {
    plugin.reads().into_iter().map(|data| (name.to_owned(), data)).collect()
}

/// Whether who makes `made` makes what is read as `data`.
fn provides(made: &Data, data: &Data) -> bool {
    made == data || matches!((made, data), (Data::PrefixMatch(_), Data::AnyPrefixMatch))
}

/// The producer that says how much of a prompt is cached: the one that the load in flight names; else the first that a
/// plugin reads; else, when anybody wants to know, the first there is. All that are read must be there.
fn prefix_source(
    reads: &[(String, Data)],
    in_flight: &InFlightLoad,
    producers: &[Named<dyn Producer>],
) -> Result<Option<Arc<str>>> {
    let named = in_flight.prefix_producer.iter().map(|name| ("the load in flight", name));
    let read = reads.iter().filter_map(|(reader, data)| match data {
        Data::PrefixMatch(name) => Some((reader.as_str(), name)),
        _ => None,
    });
    let found: Vec<_> = named.chain(read).map(|(reader, name)| find(producers, reader, name)).collect::<Result<_>>()?;
    let wanted = reads.iter().any(|(_, data)| matches!(data, Data::AnyPrefixMatch | Data::InFlightTokens));
    let mut makers = producers.iter().filter(|(_, producer)| matches!(producer.makes(), Data::PrefixMatch(_)));
    let first = makers.next().filter(|_| wanted).map(|(name, _)| name.as_str().into());
    Ok(found.into_iter().next().or(first))
}

/// The producer of this name, which `reader` reads from.
fn find(producers: &[Named<dyn Producer>], reader: &str, name: &str) -> Result<Arc<str>> {
    if producers.iter().any(|(known, _)| known == name) {
        return Ok(name.into());
    }
    Err(missing(producers, reader, "prefix matches", name))
}

/// Checks that who makes what `reader` reads by name is there.
fn present(producers: &[Named<dyn Producer>], reader: &str, data: &Data) -> Result<()> {
    let (what, name) = match data {
        Data::EncoderMatch(name) => ("encoder matches", name),
        Data::Latency(name) => ("predicted latencies", name),
        _ => return Ok(()),
    };
    let there = producers.iter().any(|(known, producer)| known == name && producer.makes() == *data);
    if there { Ok(()) } else { Err(missing(producers, reader, what, name)) }
}

fn missing(producers: &[Named<dyn Producer>], reader: &str, what: &str, name: &str) -> Error {
    let known: Vec<_> = producers.iter().map(|(known, _)| known.as_str()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let message = format!("{reader} reads {what} of producer {name}, which is not there; producers: {known}");
    Error::new(ErrorKind::Invalid, message)
}
