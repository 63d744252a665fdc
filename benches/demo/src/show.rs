//! The whole show, in order: the fleet, the race, the faults, the quiet test, and why.

use std::time::Duration;

use llmd_core::Result;
use llmd_fleet::Constants;
use llmd_fleet::machine;
use llmd_fleet::prompt::Words;
use serde_json::Value;

use crate::args::{Args, Plan};
use crate::blocks;
use crate::clock::Clock;
use crate::console::Console;
use crate::fault::{self, FaultResult};
use crate::fleet::{BLOCK_SIZE, FILL, blocks_per_engine};
use crate::quiet::{self, QuietResult};
use crate::race::{self, RaceResult};
use crate::report::{self, files, gates, json};
use crate::stage::{Scene, Stage};
use crate::trace::{RATE, SCALE, Trace};
use crate::why::Explanation;
use crate::workload;

/// How it ended, when it could be run at all.
#[derive(Debug)]
pub(crate) struct Ending<S> {
    /// Promises that were not kept.
    pub(crate) broken: Vec<String>,
    /// Where the last gateway answers.
    pub(crate) gateway: String,
    /// The last fleet and its gateway, which end with it.
    pub(crate) scene: S,
}

/// Runs everything over so many simulated engines, and prints it.
pub(crate) async fn run(args: &Args, engines: usize, clock: Clock, console: Console) -> Result<Ending<Scene>> {
    let plan = args.plan()?;
    let trace = Trace::load(args.trace.as_deref(), plan.race)?;
    let stage = Stage::set(args, engines, clock, blocks_per_engine(&trace, engines))?;
    let machine = machine::describe();
    console.say(banner(args, &stage, &trace, &machine));

    let words = Words::load(&stage.fleet.tokenizer)?;
    let text_for = |id, tokens| words.text_for(id, tokens);
    let jobs = workload::jobs(&trace, args.seed, text_for);

    console.heading("Race: the same requests under seven policies, each over empty caches");
    let (race, explanation) = race::run(&stage, &jobs, console).await?;
    show_race(console, &race, report::race::LEGEND);
    report::race::moved(&race).iter().for_each(|line| console.block(line));
    report::race::doubts(&race).iter().for_each(|line| console.block(line));
    if args.short {
        console.block(
            "So short a race hardly fills a cache; the whole one, without --short, shows what caches are worth.",
        );
    }

    console.heading("Break it: a crash, lost events and a hang, under exact prefix routing");
    let fault = fault::run(&stage, &jobs[..jobs.len().min(plan.fault)], console).await?;
    show_faults(console, &fault);

    console.heading("Quiet: one request at a time, events drained between them");
    let (quiet, scene) = quiet::run(&stage, plan.quiet, text_for, console).await?;
    show_quiet(console, &quiet);

    console.heading("Move blocks: from a process that prefilled to one that decodes, and what breaks on the way");
    let moving = tokio::task::spawn_blocking(move || blocks::run(clock));
    let blocks = moving.await.expect("moving blocks does not panic")?;
    console.block(&blocks.lines());

    show_why(console, explanation.as_ref());
    let mut broken = gates::broken(&race, &fault, &quiet, is_whole(plan, &trace, args, engines));
    broken.extend(gates::blocks_broken(&race, &blocks));
    let mut figures = json::figures(&race, &fault, &quiet, args.cold_build_s);
    json::add_blocks(&mut figures, &race, &blocks);
    let written = write_files(args, &stage, &trace, &race, &json::report("demo", &machine, &figures))?;
    console.heading("Done");
    console.block(&format!(
        "in {:.0} s, seed {}; written: {}",
        clock.now().as_secs_f64(),
        args.seed,
        written.join(", ")
    ));
    console.block("Not shown: GPUs, RDMA, several machines.");
    Ok(Ending { broken, gateway: scene.gateway.url.clone(), scene })
}

/// Whether the race ran the trace for which a factor is promised, on the fleet for which it is.
fn is_whole(plan: Plan, trace: &Trace, args: &Args, engines: usize) -> bool {
    trace.arrivals.len() == plan.race && !args.short && args.trace.is_none() && engines == 4
}

fn banner(args: &Args, stage: &Stage, trace: &Trace, machine: &Value) -> String {
    let capacity = stage.fleet.blocks * BLOCK_SIZE;
    let last = trace.arrivals.last().map_or(Duration::ZERO, |arrival| arrival.at);
    format!(
        "\
llmd demo: {engines} engines behind llmd's gateway, on this machine
  simulated  the GPUs: how long a step takes, and which tokens come out
             {constants}
             one simulated token stands for {SCALE}; KV cache set to {capacity} simulated tokens per engine, so that the
             trace's distinct tokens are {fill:.0} % of the fleet's; time runs {speed} times faster than real time
  real       HTTP and streaming, ZMQ events, continuous batching, block pools with their evictions, tokenizing, routing
  requests   {requests} of Mooncake's conversation trace at {RATE} times its rate: {last:.0} s of engine time
  machine    {machine}
  seed       {seed}",
        engines = stage.fleet.engines,
        constants = Constants::QWEN3_32B_TP2_H100,
        fill = FILL * 100.0,
        speed = args.speed,
        requests = trace.arrivals.len(),
        last = last.as_secs_f64(),
        machine = machine::line(machine),
        seed = args.seed,
    )
}

/// The race as a table, as bars, and what they mean.
pub(crate) fn show_race(console: Console, race: &[RaceResult], legend: &str) {
    console.say("");
    console.block(&report::race::table(race).text());
    console.say("");
    console.block(&report::plot::bars(race));
    console.say("");
    console.block(legend);
    if let Some(factor) = report::race::advantage(race) {
        console.block(&format!("Round robin waits {factor:.1} times as long for a first token as exact prefix does."));
    }
}

/// What was broken and what came of it.
pub(crate) fn show_faults(console: Console, fault: &FaultResult) {
    console.say("");
    console.block(&report::faults::table(fault).text());
    console.say("");
    console.block("what the index knew of each engine, and since when, by the gateway's clock:");
    console.block(&report::faults::timelines(&fault.workers));
    console.say("");
    console.block(&report::faults::summary(fault));
}

fn show_quiet(console: Console, quiet: &QuietResult) {
    let error = quiet.error().map_or_else(|| "unknown".to_owned(), |error| format!("{error} tokens"));
    console.block(&format!(
        "{} requests ({} end with a block, {} salted, {} found something cached): predictions off by {error}",
        quiet.samples.len(),
        quiet.whole_blocks,
        quiet.salted,
        quiet.hits(),
    ));
}

/// Why the slowest request went where it went.
pub(crate) fn show_why(console: Console, explanation: Option<&Explanation>) {
    let Some(Explanation { sample, ttft_ms, text }) = explanation else { return };
    console.heading("Ask why: the slowest request of the exact prefix race");
    console.block(&format!(
        "{} waited {:.2} s for its first token on {}; of its {} prompt tokens {} were predicted cached, {} were\n\n{}",
        sample.id,
        ttft_ms / 1000.0,
        sample.endpoint,
        sample.prompt_tokens,
        sample.predicted,
        sample.cached.unwrap_or(0),
        text.trim_end(),
    ));
}

fn write_files(args: &Args, stage: &Stage, trace: &Trace, race: &[RaceResult], figures: &Value) -> Result<Vec<String>> {
    let caption = format!(
        "{} requests of Mooncake's conversation trace at {RATE}× its rate, {} simulated engines ({}), seed {}",
        trace.arrivals.len(),
        stage.fleet.engines,
        Constants::QWEN3_32B_TP2_H100.name,
        args.seed
    );
    files::all(args, race, args.speed, &caption, figures)
}
