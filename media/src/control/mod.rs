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
    said: Vec<mpsc::Receiver<Said>>,
) {
    let (router, unsettled) = Router::new(hello, shards, ranges);
    let router = Rc::new(router);
    for said in said {
        let dispatcher = Rc::clone(&router);
        spawn_local(async move { dispatcher.dispatch(said).await });
    }
    let settler = Rc::clone(&router);
    spawn_local(async move { settler.settle(unsettled).await });
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
        let (router, place) = (Rc::clone(&router), Place::take(&connections));
        spawn_local(async move {
            connection::serve(stream, router).await;
            drop(place);
        });
    }
}

/// A connection's place among [`MAX_CONNECTIONS`], given back however the connection ends.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(connections: &Rc<Cell<usize>>) -> Place {
        connections.set(connections.get() + 1);
        Place(Rc::clone(connections))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_panics_gives_its_place_back() {
        let connections = Rc::new(Cell::new(0));
        let place = Place::take(&connections);
        assert_eq!(connections.get(), 1);
        let connection = async move {
            let _place = place;
            panic!("as a defect would");
        };
        let local = tokio::task::LocalSet::new();
        let ended = local.run_until(async { spawn_local(connection).await }).await;
        assert!(ended.is_err_and(|error| error.is_panic()));
        assert_eq!(connections.get(), 0);
    }
}
