//! Real engines, with what they truly held and hit: each index behind its product's pipeline, foretelling every hit.

mod capture;
mod llmd;
mod peers;

use std::collections::HashMap;
use std::fmt::Debug;
use std::path::PathBuf;

use clap::Args;
use llmd_core::event::{KvEventBatch, decode_batch};
use llmd_core::{Error, ErrorKind, Result};
use serde_json::json;

use self::capture::{Asked, Capture, Request, Step};
use crate::say;

/// Real engines, with what they truly held and hit.
#[derive(Debug, Args)]
pub(crate) struct Captures {
    /// A folder of captures of the form `*.json.gz`
    #[arg(long, value_name = "DIR")]
    captures: PathBuf,
}

/// An index behind the pipeline of its product.
trait Product: Debug {
    fn name(&self) -> &'static str;

    fn apply(&mut self, batch: &KvEventBatch);

    /// How many tokens of a prompt the engine will take from its cache.
    fn foretell(&mut self, asked: &Asked<'_>) -> usize;

    /// Whether it holds what the engine held at the end of a step; `None` when it cannot say what it holds.
    fn holds(&self, step: &Step) -> Option<bool>;
}

pub(crate) fn run(captures: &Captures) -> Result<()> {
    let paths = capture::list(&captures.captures)?;
    let progress = say::progress("truth", paths.len());
    for path in &paths {
        let capture = Capture::read(path)?;
        let products: [Box<dyn Product>; 3] = [
            Box::new(llmd::Llmd::new(&capture)?),
            Box::new(peers::Peer::<peers::Dynamo>::new(&capture.config)),
            Box::new(peers::Peer::<peers::Smg>::new(&capture.config)),
        ];
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for mut product in products {
            let found = replay(&capture, &mut *product)
                .map_err(|error| Error::new(error.kind(), format!("{name}: {error}")))?;
            let kind = if capture.config.is_hybrid() { "hybrid" } else { "dense" };
            say::row(&json!({
                "part": "truth", "capture": name, "kind": kind, "who": product.name(), "lookups": found.lookups,
                "over": found.over, "under": found.under, "steps": found.steps, "steps_wrong": found.steps_wrong,
            }));
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(())
}

/// What a replay found.
#[derive(Debug, Default)]
struct Found {
    lookups: usize,
    /// Lookups of which more was foretold than was hit, or less.
    over: usize,
    under: usize,
    steps: usize,
    steps_wrong: usize,
}

/// Lets a product hear what an engine said, and compares wherever the engine had said all that it did.
fn replay(capture: &Capture, product: &mut dyn Product) -> Result<Found> {
    let mut found = Found::default();
    let mut requests: HashMap<&str, &Request> = HashMap::new();
    let mut is_current = true;
    for step in &capture.steps {
        requests.extend(step.requests.iter().map(|request| (&*request.id, request)));
        if is_current {
            for asked in step.lookups(&requests) {
                let foretold = product.foretell(&asked);
                found.lookups += 1;
                found.over += usize::from(foretold > asked.hit);
                found.under += usize::from(foretold < asked.hit);
            }
        }
        for payload in step.payloads() {
            let batch = decode_batch(&payload?)?;
            if let Some(error) = batch.errors.first() {
                return Err(Error::new(ErrorKind::Invalid, format!("step {}: {error}", step.name)));
            }
            product.apply(&batch);
        }
        is_current = !step.is_flagged();
        if is_current && let Some(holds) = product.holds(step) {
            found.steps += 1;
            found.steps_wrong += usize::from(!holds);
        }
    }
    Ok(found)
}
