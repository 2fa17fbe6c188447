//! SIP over UDP: one socket per listener and worker, read and written without waiting, in bounded batches.

mod batch;

use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::{Context, Poll};

use moorline_b2bua::policy::Listener;
use moorline_sip::Transport;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tracing::warn;

use crate::SignalingError;

pub(crate) use batch::Batch;
use batch::Outbox;

/// Asked of the kernel for each direction: a second of 10,000 messages of 800 bytes. The kernel gives at
/// most `net.core.rmem_max` and `wmem_max` (deploy/sysctl raises them).
const SOCKET_BUFFER: usize = 8 << 20;

/// A worker's sockets before it runs, by position in the policy; `None` where no UDP is served.
pub(crate) type Bound = Vec<Option<StdSocket>>;

/// The sockets of all listeners, by position in the policy.
pub(crate) struct UdpTransport {
    sockets: Vec<Option<UdpSocket>>,
    /// Which socket is asked first, so that a busy one cannot starve the rest.
    first: usize,
    outbox: Outbox,
    /// Datagrams that were received.
    pub(crate) received: u64,
    /// Datagrams that were sent.
    pub(crate) sent: u64,
    /// Datagrams that the kernel did not take: its buffer was full, or it had no route.
    pub(crate) unsent: u64,
}

/// Binds every listener once for each of `workers`. The kernel then spreads what comes over their sockets.
pub(crate) fn bind(listeners: &[Listener], workers: usize) -> Result<Vec<Bound>, SignalingError> {
    let mut bound: Vec<Bound> = (0..workers).map(|_| Vec::with_capacity(listeners.len())).collect();
    for listener in listeners {
        let failed = |source| SignalingError::Bind {
            name: listener.name.clone(),
            bind: listener.bind,
            transport: Transport::Udp,
            source,
        };
        let serves = listener.transports.contains(&Transport::Udp);
        if serves && workers > 1 {
            // Sockets that share an address would share it with those of another process too: not unless it is free.
            drop(open(listener.bind, false).map_err(failed)?);
        }
        for sockets in &mut bound {
            let socket = serves.then(|| open(listener.bind, workers > 1)).transpose().map_err(failed)?;
            sockets.push(socket);
        }
    }
    Ok(bound)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<StdSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    let socket = StdSocket::from(socket);
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    Ok(socket)
}

impl UdpTransport {
    /// Takes the sockets over into the runtime that this is called in.
    pub(crate) fn new(bound: Bound) -> io::Result<UdpTransport> {
        let register = |socket: Option<StdSocket>| socket.map(UdpSocket::from_std).transpose();
        let sockets: Vec<_> = bound.into_iter().map(register).collect::<io::Result<_>>()?;
        let outbox = Outbox::new(sockets.len());
        Ok(UdpTransport { sockets, first: 0, outbox, received: 0, sent: 0, unsent: 0 })
    }

    /// Ready with the position of a socket that may have datagrams.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        for step in 0..self.sockets.len() {
            let at = (self.first + step) % self.sockets.len();
            // An error is met again, and dealt with, by the read.
            if self.sockets[at].as_ref().is_some_and(|socket| socket.poll_recv_ready(cx).is_ready()) {
                self.first = at + 1;
                return Poll::Ready(at);
            }
        }
        Poll::Pending
    }

    /// Fills `batch` from a socket, as far as datagrams are there.
    pub(crate) fn receive(&mut self, listener: usize, batch: &mut Batch) {
        batch.clear();
        let Some(Some(socket)) = self.sockets.get(listener) else { return };
        let result = socket.try_io(Interest::READABLE, || {
            let filled = batch.receive(socket.as_raw_fd())?;
            // Empty: whatever comes after this moment wakes again, which saves asking once more.
            if filled { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        match result {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            // An error that the kernel queued for an earlier send: the next datagram is behind it.
            Err(e) => warn!(listener, "receive: {e}"),
        }
        self.received += batch.len() as u64;
    }

    /// Sends with the next [`flush`](Self::flush), in order.
    pub(crate) fn send(&mut self, listener: usize, remote: SocketAddr, bytes: Arc<[u8]>) {
        if !matches!(self.sockets.get(listener), Some(Some(_))) {
            self.unsent += 1;
        } else {
            self.outbox.push(listener, remote, bytes);
        }
    }

    /// How many datagrams wait for the next flush.
    pub(crate) fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// Sends what waits, without waiting. What the kernel does not take is counted, and sent again by SIP's timers.
    pub(crate) fn flush(&mut self) {
        for (listener, socket) in self.sockets.iter().enumerate() {
            let Some(socket) = socket else { continue };
            let (sent, unsent) = self.outbox.flush(listener, socket.as_raw_fd());
            self.sent += sent;
            self.unsent += unsent;
        }
    }
}
