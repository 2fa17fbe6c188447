//! SIP over UDP: one socket per listener, read and written without waiting, in bounded batches.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use moorline_b2bua::policy::Listener;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tracing::warn;

use crate::SignalingError;

/// Asked of the kernel for each direction: a second of 10,000 messages of 800 bytes. The kernel gives at
/// most `net.core.rmem_max` and `wmem_max` (deploy/sysctl raises them).
const SOCKET_BUFFER: usize = 8 << 20;

/// The most datagrams taken from one socket before the others, the timers and the media get their turn.
const BATCH: usize = 64;

/// The largest UDP payload, and so the largest SIP message here.
const MAX_DATAGRAM: usize = 65_535;

/// The sockets of all listeners, by position in the policy.
pub(crate) struct UdpTransport {
    sockets: Vec<UdpSocket>,
    /// Which socket is asked first, so that a busy one cannot starve the rest.
    first: usize,
    /// Datagrams that the kernel did not take: its buffer was full, or it had no route.
    pub(crate) unsent: u64,
}

/// A bounded batch of received datagrams being taken from one socket.
pub(crate) struct Datagrams {
    /// The listener's position.
    pub(crate) listener: usize,
    left: usize,
    buffer: Box<[u8]>,
}

impl UdpTransport {
    /// Binds every listener.
    pub(crate) async fn bind(listeners: &[Listener]) -> Result<UdpTransport, SignalingError> {
        let mut sockets = Vec::with_capacity(listeners.len());
        for listener in listeners {
            let failed = |source| SignalingError::Bind { name: listener.name.clone(), bind: listener.bind, source };
            let socket = bind(listener.bind).map_err(failed)?;
            // The first readiness comes from the reactor; without it the first answer would not be sent.
            socket.writable().await.map_err(failed)?;
            sockets.push(socket);
        }
        Ok(UdpTransport { sockets, first: 0, unsent: 0 })
    }

    /// Ready with the position of a socket that may have datagrams.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        for step in 0..self.sockets.len() {
            let at = (self.first + step) % self.sockets.len();
            // An error is met again, and dealt with, by the read.
            if self.sockets[at].poll_recv_ready(cx).is_ready() {
                self.first = at + 1;
                return Poll::Ready(at);
            }
        }
        Poll::Pending
    }

    /// The next datagram of the batch; `None` at its bound or when nothing more is there.
    pub(crate) fn receive<'b>(&self, batch: &'b mut Datagrams) -> Option<(SocketAddr, &'b [u8])> {
        let socket = self.sockets.get(batch.listener)?;
        while batch.left > 0 {
            batch.left -= 1;
            match socket.try_recv_from(&mut batch.buffer) {
                Ok((length, source)) => return Some((source, &batch.buffer[..length])),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
                // An error that the kernel queued for an earlier send: the next datagram is behind it.
                Err(e) => warn!(listener = batch.listener, "receive: {e}"),
            }
        }
        None
    }

    /// Sends without waiting. What the kernel does not take is counted, and sent again by SIP's timers.
    pub(crate) fn send(&mut self, listener: usize, remote: SocketAddr, bytes: &[u8]) {
        let sent = self.sockets.get(listener).map(|socket| socket.try_send_to(bytes, remote));
        if !matches!(sent, Some(Ok(length)) if length == bytes.len()) {
            self.unsent += 1;
        }
    }
}

impl Datagrams {
    pub(crate) fn new() -> Datagrams {
        Datagrams { listener: 0, left: 0, buffer: vec![0; MAX_DATAGRAM].into_boxed_slice() }
    }

    /// Starts a batch on `listener`.
    pub(crate) fn start(&mut self, listener: usize) {
        self.listener = listener;
        self.left = BATCH;
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
