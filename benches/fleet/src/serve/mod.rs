//! The engine as a process: OpenAI over HTTP, KV events over ZMQ, the wall clock.

mod answer;
mod args;
mod ask;
mod clock;
mod debug;
mod driver;
mod generate;
mod handover;
mod kv;
mod metrics;
mod publish;
mod refusal;
mod routes;
mod server;
mod tokenize;
mod tokens;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::sync_channel;

use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};

pub use args::Args;

use self::clock::{Clock, unix_seconds};
use self::driver::{Driver, MAX_COMMANDS};
use self::kv::Kv;
use self::metrics::Counts;
use self::publish::{EventSockets, Faults};
use self::server::Server;
use self::tokens::Tokens;
use crate::model::Engine;
use crate::process::Ready;

/// Serves until SIGTERM or SIGINT. What makes that impossible is said in one line on standard error.
pub fn run(args: Args) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = match runtime {
        Ok(runtime) => runtime.block_on(serve(args)),
        Err(error) => Err(format!("no runtime: {error}")),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            tracing::error!("{message}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> Result<(), String> {
    let settings = args.engine_settings()?;
    let tokens = Arc::new(Tokens::load(&args.tokenizer).map_err(|error| format!("--tokenizer: {error}"))?);
    let mut engine = Engine::new(settings.clone(), tokens.sampler()).map_err(|error| error.to_string())?;

    let (http_on, http) = listen(&args, "--port", args.port)?;
    let (events_on, kv_events) = listen(&args, "--kv-events-port", args.kv_events_port)?;
    let (replay_on, replay) = listen(&args, "--replay-port", args.replay_port)?;
    let ready = Ready::new(&args.name, [http, kv_events, replay]);
    let topic = args.topic.clone().unwrap_or_else(|| format!("kv@{http}@{}", args.model));

    let faults = Arc::new(Mutex::new(Faults::default()));
    let (sockets, publisher) = EventSockets::bind(events_on, replay_on, topic.clone(), Arc::clone(&faults))
        .await
        .map_err(|error| error.to_string())?;
    let counts = Arc::new(Mutex::new(Counts::new(&settings)));
    let (commands, commanded) = sync_channel(MAX_COMMANDS);
    let clock = Clock::start(args.speed);
    let kv = match args.kv_block_bytes {
        0 => None,
        bytes => {
            engine.record_filled();
            let kv = Kv::start(&args.name, http, settings.num_blocks, bytes, commands.clone());
            Some(kv.map_err(|error| format!("--kv-block-bytes {bytes}: {error}"))?)
        }
    };
    let driver = Driver::new(engine, clock, commanded, publisher, Arc::clone(&counts), kv.clone());
    std::thread::Builder::new()
        .name("engine".into())
        .spawn(move || driver.run())
        .map_err(|error| format!("no thread for the engine: {error}"))?;

    let server = Arc::new(Server {
        adapters: args.adapters(),
        model: args.model,
        settings,
        tokens,
        clock,
        kv,
        counts,
        faults,
        commands,
        ready: ready.clone(),
        topic,
        seed: args.seed,
        created: unix_seconds() as u64,
        next_key: AtomicU64::new(0),
    });
    let listener = tokio::net::TcpListener::from_std(http_on).map_err(|error| format!("--port: {error}"))?;
    let no_signal = |error| format!("signals cannot be received: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signal)?;
    announce(&ready);
    tokio::select! {
        () = routes::serve(listener, server) => {}
        () = sockets.serve() => return Err("the engine's thread has ended".into()),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// A listener, and where it listens.
fn listen(args: &Args, flag: &str, port: u16) -> Result<(TcpListener, SocketAddr), String> {
    let address = SocketAddr::new(args.host, port);
    let open = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    open().map_err(|error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("port {port} is in use: stop what listens on {address}, or choose another port with {flag} (0 takes a free one)")
        }
        _ => format!("{flag}: cannot listen on {address}: {error}"),
    })
}

/// The ready line. Whoever started the engine may have stopped reading; it serves all the same.
fn announce(ready: &Ready) {
    let line = serde_json::to_string(ready).expect("a ready line is plain data");
    let mut stdout = std::io::stdout();
    _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
