//! From a configuration to a running process.

use std::future::Future;

use moorline_b2bua::{Entropy, Worker};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::info;

use crate::event_loop::EventLoop;
use crate::transport::UdpTransport;
use crate::{Config, SignalingError, admin, media_client, privilege, resolver};

/// Serves SIP until SIGTERM or SIGINT; see the crate's documentation for what becomes of the calls.
///
/// Works without a media process, refusing calls until one answers at [`Config::control`].
///
/// # Errors
/// What keeps the process from starting. Once it serves, it fails no more.
pub fn run(config: Config) -> Result<(), SignalingError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SignalingError::system("starting the event loop"))?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), SignalingError> {
    let policy = config.policy().map_err(SignalingError::Config)?;
    privilege::refuse_root(&config)?;
    let stop = stop_signals()?;

    let transport = UdpTransport::bind(&policy.listeners).await?;
    let admin_failed = |source| SignalingError::Admin { admin: config.admin, source };
    let admin_socket = TcpListener::bind(config.admin).await.map_err(admin_failed)?;
    if let Some(user) = &config.user {
        privilege::become_user(user)?;
    }

    let worker = Worker::new(config.node, policy, entropy()?);
    // Two scrapers may ask at once; more wait their turn in the admin server.
    let (scrape, scrapes) = mpsc::channel(2);
    tokio::spawn(admin::serve(admin_socket, scrape));
    let media = media_client::start(config.control.clone(), config.lease_s);
    for listener in &config.listeners {
        info!(listener = listener.name, bind = %listener.bind, "serving SIP over UDP");
    }
    info!(admin = %config.admin, node = config.node, "signaling is up");
    EventLoop::new(worker, transport, media, resolver::start(&config.dns), scrapes).run(stop).await;
    info!(lease_s = config.lease_s, "signaling stops; calls are left to the media process's lease");
    Ok(())
}

fn stop_signals() -> Result<impl Future<Output = ()>, SignalingError> {
    let listen = |kind| signal(kind).map_err(SignalingError::system("waiting for signals"));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn entropy() -> Result<Entropy, SignalingError> {
    let unavailable = |e| SignalingError::system("reading random numbers")(std::io::Error::other(e));
    getrandom::u64().map_err(unavailable)?;
    Ok(Box::new(|| {
        // getrandom(2) does not fail again once the kernel's pool has been filled, as it has by now; and
        // identifiers that can be guessed are no alternative to waiting.
        loop {
            if let Ok(bits) = getrandom::u64() {
                return bits;
            }
        }
    }))
}
