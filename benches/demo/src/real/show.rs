//! The show on real engines, in order: the engines, the race, the faults, the quiet test, and why.

use llmd_core::Result;
use serde_json::Value;

use super::adapter::Vllm;
use super::conversation::{self, CACHE_BLOCKS, SYSTEM_BLOCKS, SYSTEMS};
use super::engine::{BLOCK_SIZE, EngineSettings, MAX_TOKENS};
use super::fault::Questions;
use super::fleet::{ENGINES, Fleet, SocketFolder};
use super::load::USERS;
use super::stage::{Scene, Stage};
use super::{fault, quiet, race, report};
use crate::args::Args;
use crate::clock::Clock;
use crate::console::Console;
use crate::report::{files, json};
use crate::show::{Ending, show_faults, show_race, show_why};
use llmd_fleet::machine;

/// Bytes of a block of KV cache: 2 layers of keys and values, 2 heads, 64 numbers of 2 bytes, 32 tokens.
const BLOCK_BYTES: usize = 2 * 2 * 2 * 64 * 2 * BLOCK_SIZE;

/// How many questions each part asks.
#[derive(Clone, Copy, Debug)]
struct Plan {
    race: usize,
    fault: Questions,
}

impl Plan {
    const FULL: Self = Self { race: 400, fault: Questions { before: 100, since: 200 } };
    const SHORT: Self = Self { race: 120, fault: Questions { before: 40, since: 80 } };
}

/// What stays up after the show: the gateway is ended first.
#[derive(Debug)]
pub(crate) struct LeftUp {
    _scene: Scene,
    _fleet: Fleet,
}

/// Runs everything and prints it.
pub(crate) async fn run(args: &Args, clock: Clock, console: Console) -> Result<Ending<LeftUp>> {
    args.plan()?;
    let plan = if args.short { Plan::SHORT } else { Plan::FULL };
    let vllm = args.vllm.vllm()?;
    let stage = Stage::set(args, clock, vllm.model.join("tokenizer.json"))?;
    let machine = machine::describe();
    console.say(banner(&vllm, &plan, args.seed, &machine));

    console.heading("Engines");
    let sockets = SocketFolder::make()?;
    let settings = EngineSettings {
        vllm,
        // One block more: the first one is the engine's own.
        cache_bytes: (CACHE_BLOCKS + 1) * BLOCK_BYTES,
        logs: stage.run.clone(),
        sockets: sockets.path().to_owned(),
    };
    let mut fleet = Fleet::start(&settings, sockets, clock, &stage.http, console).await?;
    let served = clock.now();
    let jobs = conversation::jobs(&stage.texts, plan.race, args.seed);

    console.heading("Race: the same questions under two policies, each over empty caches");
    let (race, explanation) = race::run(&stage, &mut fleet, &jobs, console).await?;
    show_race(console, &race, report::LEGEND);

    console.heading("Break it: a crash and lost events, under exact prefix routing");
    let broken = fault::run(&stage, &mut fleet, &jobs, plan.fault, console).await?;
    show_faults(console, &broken.fault);
    console.block(&format!("{} event batches were lost on their way", broken.lost));

    console.heading("Quiet: one request at a time, events drained between them");
    let (quiet, scene) = quiet::run(&stage, &mut fleet, &settings.vllm.adapters, console).await?;
    console.block(&report::quiet_line(&quiet));

    show_why(console, explanation.as_ref());
    let promises = report::broken_promises(&race, &broken, &quiet);
    let figures = report::figures(&race, &broken, &quiet, fleet.start, args.cold_build_s);
    let caption =
        format!("{} questions, {ENGINES} engines of vLLM with a tiny model on a CPU, seed {}", plan.race, args.seed);
    let figures = json::report("demo --engines vllm", &machine, &figures);
    let written = files::all(args, &race, 1.0, &caption, &figures)?;
    console.heading("Done");
    let (all, work) = (clock.now(), clock.now() - served);
    console.block(&format!(
        "in {:.0} s, {:.0} s of them with the engines up, seed {}; written: {}",
        all.as_secs_f64(),
        work.as_secs_f64(),
        args.seed,
        written.join(", ")
    ));
    console.block("Not shown: GPUs, models of a size that anybody uses, several machines, P/D and KV transfer.");
    Ok(Ending { broken: promises, gateway: scene.gateway.url.clone(), scene: LeftUp { _scene: scene, _fleet: fleet } })
}

fn banner(vllm: &Vllm, plan: &Plan, seed: u64, machine: &Value) -> String {
    let cache = CACHE_BLOCKS * BLOCK_SIZE;
    let system = SYSTEM_BLOCKS * BLOCK_SIZE;
    let adapters: Vec<&str> = vllm.adapters.iter().map(|adapter| adapter.name.as_str()).collect();
    format!(
        "\
llmd demo: {ENGINES} engines of vLLM behind llmd's gateway, on this machine
  real       the engines: vLLM with its scheduler, prefix cache, KV events, replay, LoRA and tokenizer; HTTP, routing, time
  made up    the model: two layers with random weights, computed by the processor, so answers make no sense and times
             say little about GPUs; prompts are at most {MAX_TOKENS} tokens, of random words
             KV cache set to {cache} tokens per engine: half of the {SYSTEMS} system prompts of {system} tokens fit, all do not
  requests   {questions} questions in conversations of {USERS} users at a time, each under one of the system prompts
  adapters   {adapters}
  machine    {machine}
  seed       {seed}",
        questions = plan.race,
        adapters = adapters.join(", "),
        machine = machine::line(machine),
    )
}
