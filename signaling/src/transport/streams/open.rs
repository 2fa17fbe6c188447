//! How connections come to be: accepted, or opened for something to send.

use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::time::Duration;

use moorline_b2bua::policy::{Listener, Policy, TlsIdentity};
use moorline_sip::Transport;
use moorline_sip::transaction::{Flow, Identity};
use rustls::pki_types::{CertificateDer, ServerName};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::spawn_local;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tracing::{debug, warn};

use super::Streams;
use super::connection::{self, Connection, Outgoing};
use super::counts::add;
use crate::SignalingError;
use crate::clock::now_ns;
use crate::transport::tls::Subject;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// After a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket of the listener at a position.
pub(crate) struct Bound {
    listener: usize,
    transport: Transport,
    pub(super) socket: StdListener,
}

/// Binds the listeners that serve streams.
pub(crate) fn bind(listeners: &[Listener]) -> Result<Vec<Bound>, SignalingError> {
    let mut bound = Vec::new();
    for (position, listener) in listeners.iter().enumerate() {
        for &transport in listener.transports.iter().filter(|transport| transport.is_reliable()) {
            let socket = listen(listener.bind).map_err(|source| SignalingError::Bind {
                name: listener.name.clone(),
                bind: listener.bind,
                transport,
                source,
            })?;
            bound.push(Bound { listener: position, transport, socket });
        }
    }
    Ok(bound)
}

fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of a process before this one may still be closing.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts connections on a socket from now on.
pub(super) fn accept(streams: Rc<Streams>, bound: Bound) -> io::Result<()> {
    let Bound { listener, transport, socket } = bound;
    let socket = TcpListener::from_std(socket)?;
    spawn_local(async move {
        loop {
            match socket.accept().await {
                Ok((stream, remote)) => accepted(&streams, Flow::new(listener, transport, remote), stream),
                Err(error) => {
                    warn!(listener, %transport, "accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    Ok(())
}

fn accepted(streams: &Rc<Streams>, flow: Flow, stream: TcpStream) {
    let counts = streams.counts.of(flow.transport);
    // A stranger gets nothing, not even a handshake.
    let known = streams.policy().expected(flow.listener, flow.remote).is_some();
    if !known || !streams.table.borrow().has_room(flow.remote.ip()) {
        return add(&counts.refused);
    }
    add(&counts.accepted);
    let (connection, outgoing) = Connection::new(flow);
    streams.table.borrow_mut().insert(Rc::clone(&connection));
    let streams = Rc::clone(streams);
    spawn_local(async move {
        let served = serve_accepted(&streams, &connection, outgoing, stream).await;
        connection::ended(&streams, &connection, served).await;
    });
}

async fn serve_accepted(
    streams: &Rc<Streams>,
    connection: &Rc<Connection>,
    outgoing: Outgoing,
    stream: TcpStream,
) -> Result<(), connection::End> {
    stream.set_nodelay(true)?;
    let flow = connection.flow();
    if flow.transport != Transport::Tls {
        return connection::serve(streams, connection, outgoing, stream, pending()).await;
    }
    let identity = streams.identities.borrow().get(flow.listener).cloned().flatten();
    let identity = identity.ok_or(connection::End::Handshake("no certificate".into()))?;
    let handshake = TlsAcceptor::from(identity.server).accept(stream);
    match timeout(streams.bounds.connect(), handshake).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let flow = Flow { identity: shown.and_then(|shown| identified(streams, flow, shown)), ..flow };
            if !streams.policy().is_welcome(flow) {
                return Err(connection::End::Handshake(connection::End::Identity.to_string()));
            }
            streams.table.borrow_mut().identify(connection, flow);
            let is_welcome = |policy: &Policy| policy.is_welcome(flow);
            connection::serve(streams, connection, outgoing, stream, while_so(streams, is_welcome)).await
        }
        Ok(Err(error)) => Err(connection::End::Handshake(error.to_string())),
        Err(_) => Err(connection::End::Handshake("it takes too long".into())),
    }
}

/// Lasts as long as this is so of the policy.
async fn while_so(streams: &Streams, is_so: impl Fn(&Policy) -> bool) -> connection::End {
    let mut policies = streams.policies.clone();
    loop {
        if !is_so(&policies.borrow_and_update()) {
            return connection::End::Identity;
        }
        if policies.changed().await.is_err() {
            pending().await
        }
    }
}

/// Which of the identities that are known of its address a far end has, by its certificate, which one of the authorities
/// has signed.
fn identified(streams: &Streams, flow: Flow, shown: &CertificateDer<'_>) -> Option<Identity> {
    let policy = streams.policy();
    let expected = policy.expected(flow.listener, flow.remote)?;
    let shown = Subject::of(shown)?;
    expected.into_iter().find(|name| shown.is(name.name())).map(TlsIdentity::identity)
}

/// Begins to open a connection, on which things may be put at once. `None` if there may be no more, or the listener
/// does not speak the transport.
pub(super) fn connect(streams: &Rc<Streams>, flow: Flow) -> Option<Rc<Connection>> {
    let counts = streams.counts.of(flow.transport);
    let serves = |listener: &Listener| flow.transport.is_reliable() && listener.transports.contains(&flow.transport);
    let possible = streams.policy().listeners.get(flow.listener).is_some_and(serves);
    if !possible || !streams.table.borrow().has_room(flow.remote.ip()) {
        add(&counts.failed);
        return None;
    }
    streams.edge.borrow_mut().sent_to(now_ns(), flow);
    let (connection, outgoing) = Connection::new(flow);
    streams.table.borrow_mut().insert(Rc::clone(&connection));
    let (streams, opened) = (Rc::clone(streams), Rc::clone(&connection));
    spawn_local(async move {
        let served = serve_opened(&streams, &opened, outgoing).await;
        connection::ended(&streams, &opened, served).await;
    });
    Some(connection)
}

async fn serve_opened(
    streams: &Rc<Streams>,
    connection: &Rc<Connection>,
    outgoing: Outgoing,
) -> Result<(), connection::End> {
    let flow = connection.flow();
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let patience = tokio::time::Instant::now() + streams.bounds.connect();
    let opened = tokio::time::timeout_at(patience, dial(streams, flow)).await.unwrap_or_else(|_| Err(late()));
    let stream = opened.map_err(connection::End::Connect)?;
    if flow.transport != Transport::Tls {
        add(&streams.counts.of(flow.transport).connected);
        return connection::serve(streams, connection, outgoing, stream, pending()).await;
    }
    let identity = streams.identities.borrow().get(flow.listener).cloned().flatten();
    let identity = identity.ok_or(connection::End::Handshake("no certificate".into()))?;
    let name = streams.names.borrow().get(&flow.remote).cloned();
    let name = match name {
        Some(name) => ServerName::try_from(name).map_err(|error| connection::End::Handshake(error.to_string()))?,
        None => ServerName::from(flow.remote.ip()),
    };
    let handshake = TlsConnector::from(identity.client).connect(name, stream);
    match tokio::time::timeout_at(patience, handshake).await {
        Ok(Ok(stream)) => {
            add(&streams.counts.of(flow.transport).connected);
            // What comes on it is its trunk's, as long as that goes by the name.
            let is_named = |policy: &Policy| flow.identity.is_none_or(|identity| policy.is_named(identity));
            connection::serve(streams, connection, outgoing, stream, while_so(streams, is_named)).await
        }
        Ok(Err(error)) => Err(connection::End::Handshake(error.to_string())),
        Err(_) => Err(connection::End::Handshake("it takes too long".into())),
    }
}

/// Opens a connection from the listener's address, by which the far end knows this host.
async fn dial(streams: &Streams, flow: Flow) -> io::Result<TcpStream> {
    let socket = if flow.remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(listener) = streams.policy().listeners.get(flow.listener)
        && !listener.bind.ip().is_unspecified()
    {
        socket.bind(SocketAddr::new(listener.bind.ip(), 0))?;
    }
    let stream = socket.connect(flow.remote).await?;
    stream.set_nodelay(true)?;
    debug!(remote = %flow.remote, transport = %flow.transport, "connected");
    Ok(stream)
}
