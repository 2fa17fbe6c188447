//! The control server: clients on a Unix stream socket.
//!
//! Runs on one thread beside the shards and speaks to them through their mailboxes only. It never waits for
//! a shard to take a letter, and a client that does not read is cut off, so nobody can hold it up.

mod connection;
mod directory;
mod listing;
mod router;
mod socket;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use moorline_control::ServerHello;
use moorline_relay::Range;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use crate::shard::{Mailbox, Said};
use router::Router;

pub(crate) use socket::{Access, ControlSocket};

/// Connections at once: one signaling process, its successor, and operators.
const MAX_CONNECTIONS: usize = 64;
/// After a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves clients for ever. Runs inside a `LocalSet`.
pub(crate) async fn serve(
    listener: UnixListener,
    access: Access,
    hello: ServerHello,
    shards: Vec<Arc<Mailbox>>,
    ranges: Vec<Range>,
    said: mpsc::Receiver<Said>,
) {
    let router = Rc::new(Router::new(hello, shards, ranges));
    let dispatcher = Rc::clone(&router);
    spawn_local(async move { dispatcher.dispatch(said).await });
    let connections = Rc::new(Cell::new(0));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "control: accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !admits(&access, &stream) {
            continue;
        }
        if connections.get() >= MAX_CONNECTIONS {
            tracing::warn!(connections = MAX_CONNECTIONS, "control: a client was turned away, too many connections");
            continue;
        }
        connections.set(connections.get() + 1);
        let (router, connections) = (Rc::clone(&router), Rc::clone(&connections));
        spawn_local(async move {
            connection::serve(stream, router).await;
            connections.set(connections.get() - 1);
        });
    }
}

fn admits(access: &Access, stream: &UnixStream) -> bool {
    match stream.peer_cred() {
        Ok(peer) if access.admits(peer.uid()) => true,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), pid = peer.pid(), "control: a user was turned away, see control_users");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "control: a client without credentials was turned away");
            false
        }
    }
}
