//! Takes connections, and stops in three steps: say so, finish what has begun, cut what is left.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use llmd_core::{Error, ErrorKind, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::proxy::Proxy;
use crate::settings::Settings;

/// Opens the socket that requests come to.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when the address cannot be listened on: it is taken, or not this machine's.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => "address in use".to_owned(),
            _ => error.to_string(),
        };
        let message = format!("cannot listen on {address}: {why}; choose another with --listen");
        Error::new(ErrorKind::Unavailable, message).with_source(error)
    })
}

/// Serves until `drain` is cancelled and everything that had begun has ended, or until `cut` is cancelled.
pub(crate) async fn serve(
    listener: TcpListener,
    proxy: Arc<Proxy>,
    settings: Arc<Settings>,
    clock: Clock,
    drain: CancellationToken,
    cut: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(settings.limits.connections));
    let closed = async {
        drain.cancelled().await;
        proxy.drain();
        clock.sleep_until(clock.now() + settings.drain.notice).await;
    };
    tokio::pin!(closed);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            (place, accept(&listener, &clock).await)
        };
        let (place, (stream, client)) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut closed => break,
            () = cut.cancelled() => break,
        };
        let served = graceful.watch(connection(stream, client, Arc::clone(&proxy), &settings));
        let cut = cut.clone();
        connections.spawn(async move {
            let _place = place;
            if let Some(Err(error)) = cut.run_until_cancelled(served).await {
                tracing::debug!("connection of {client} ended: {error}");
            }
        });
    }
    drop(listener);
    connections.close();
    let finished = async {
        graceful.shutdown().await;
        connections.wait().await;
    };
    tokio::select! {
        () = finished => {}
        () = cut.cancelled() => {}
        () = clock.sleep_until(clock.now() + settings.drain.timeout) => {
            tracing::warn!("{} connections are cut: they did not end within {:?}", connections.len(), settings.drain.timeout);
        }
    }
    cut.cancel();
    connections.wait().await;
}

/// The next connection. When the operating system gives none (file descriptors may be used up), it is asked again later.
async fn accept(listener: &TcpListener, clock: &Clock) -> (TcpStream, IpAddr) {
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
    loop {
        match listener.accept().await {
            Ok((stream, client)) => return (stream, client.ip()),
            Err(error) => {
                tracing::warn!("no connection can be taken: {error}");
                clock.sleep_until(clock.now() + PAUSE).await;
            }
        }
    }
}

fn connection(
    stream: TcpStream,
    client: IpAddr,
    proxy: Arc<Proxy>,
    settings: &Settings,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = crate::answer::BoxError> + use<> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("connection of {client} may delay small pieces: {error}");
    }
    let service = service_fn(move |request| {
        let proxy = Arc::clone(&proxy);
        async move { Ok::<_, Infallible>(proxy.answer(client, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(settings.timeouts.request_head);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(settings.timeouts.request_head);
    builder.serve_connection(TokioIo::new(stream), service).into_owned()
}
