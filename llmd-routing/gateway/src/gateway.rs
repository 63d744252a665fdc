//! A gateway that runs, and how to start one.

use std::net::SocketAddr;
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};
use llmd_routing::EndpointPickerConfig;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::discovery::{Endpoints, FileWatch};
use crate::model::{Directory, Surroundings};
use crate::plan::Plan;
use crate::proxy::{Proxy, connector};
use crate::serve::{listen, serve};
use crate::settings::Settings;
use crate::telemetry::Telemetry;
use crate::upstream::Upstream;

/// How to start a gateway.
#[derive(Debug)]
pub struct Gateway;

/// What a gateway is started with.
#[derive(Debug)]
#[must_use = "a gateway begins when it is started"]
pub struct GatewayBuilder {
    settings: Settings,
    config: Option<EndpointPickerConfig>,
    config_name: String,
    experimental: bool,
    endpoints: Endpoints,
    listen: SocketAddr,
    clock: Option<Clock>,
}

impl Gateway {
    /// A gateway with these settings, which listens on a free port of 127.0.0.1 and knows no endpoints, until the builder
    /// is told otherwise.
    pub fn builder(settings: Settings) -> GatewayBuilder {
        GatewayBuilder {
            settings,
            config: None,
            config_name: "configuration".into(),
            experimental: false,
            endpoints: Endpoints::Fixed(Vec::new()),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            clock: None,
        }
    }
}

impl GatewayBuilder {
    /// The plugins that choose endpoints. Without it, llm-d's default configuration.
    pub fn config(self, config: EndpointPickerConfig) -> Self {
        Self { config: Some(config), ..self }
    }

    /// What messages call the configuration; the name of its file, say.
    pub fn config_name(self, name: impl Into<String>) -> Self {
        Self { config_name: name.into(), ..self }
    }

    /// Takes plugins that llm-d calls Alpha, too.
    pub fn allow_experimental_plugins(self, experimental: bool) -> Self {
        Self { experimental, ..self }
    }

    /// Where the endpoints are listed.
    pub fn endpoints(self, endpoints: Endpoints) -> Self {
        Self { endpoints, ..self }
    }

    /// Where requests come to. Port 0 is any free port.
    pub fn listen(self, address: SocketAddr) -> Self {
        Self { listen: address, ..self }
    }

    /// The clock. Without it, one that begins now.
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// Starts it, on the tokio runtime that this is called from.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] and [`ErrorKind::Unsupported`] for what is wrong with the configuration or the list of
    /// endpoints; [`ErrorKind::Unavailable`] when a file cannot be read or the address cannot be listened on.
    pub async fn start(self) -> Result<RunningGateway> {
        let clock = self.clock.unwrap_or_else(Clock::start);
        let plan = Plan::new(self.config, self.experimental)
            .map_err(|error| Error::new(error.kind(), format!("{}: {error}", self.config_name)))?;
        let connector = connector(&self.settings.disaggregation)?;
        let (watch, entries) = match self.endpoints {
            Endpoints::File(path) => FileWatch::open(path).map(|(watch, entries)| (Some(watch), entries))?,
            Endpoints::Fixed(entries) => (None, entries),
        };
        let listener = listen(self.listen).await?;
        let address = listener
            .local_addr()
            .map_err(|error| Error::new(ErrorKind::Internal, "a listening socket has no address").with_source(error))?;

        let settings = Arc::new(self.settings);
        let stop = CancellationToken::new();
        let around = Surroundings {
            upstream: Upstream::new(&settings),
            settings: Arc::clone(&settings),
            plan: Arc::new(plan),
            clock: clock.clone(),
            telemetry: Arc::new(Telemetry::default()),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
        };
        let tasks = around.tasks.clone();
        let directory = Directory::new(around.clone());
        directory.list(entries);
        if let Some(watch) = watch {
            let directory = Arc::clone(&directory);
            let watching = watch.run(settings.polling.clone(), clock.clone(), move |entries| directory.list(entries));
            tasks.spawn(stop.clone().run_until_cancelled_owned(watching));
        }
        let proxy = Arc::new(Proxy::new(around, directory, connector));
        let drain = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, proxy, settings, clock, drain.clone(), stop.clone()));
        Ok(RunningGateway { address, drain, serving, tasks, stop: stop.drop_guard() })
    }
}

/// A gateway that runs. Dropped, it stops at once; [`shutdown`](Self::shutdown) lets requests end first.
#[derive(Debug)]
#[must_use = "the gateway stops when this drops"]
pub struct RunningGateway {
    address: SocketAddr,
    drain: CancellationToken,
    serving: JoinHandle<()>,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl RunningGateway {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// From now on `/ready` says no, and after the drain notice no more connections are taken.
    pub fn begin_drain(&self) {
        self.drain.cancel();
    }

    /// Stops: takes no more connections, lets requests end for as long as the settings say, and then ends everything.
    pub async fn shutdown(self) {
        self.begin_drain();
        if let Err(error) = self.serving.await {
            tracing::error!("the gateway did not stop in order: {error}");
        }
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
    }
}
