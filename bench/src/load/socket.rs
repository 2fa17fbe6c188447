//! What one side's SIP is carried over: a UDP socket, or TCP connections.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};

use super::Transport;
use super::streams::Streams;
use crate::media::receive::socket_address;

/// The SIP socket of one side.
#[derive(Debug)]
pub struct SipSocket {
    address: SocketAddr,
    carrier: Carrier,
    /// Addresses that a host or the kernel has refused.
    refused: VecDeque<SocketAddr>,
}

#[derive(Debug)]
enum Carrier {
    Udp(UdpSocket),
    Tcp(Streams),
}

/// Longer than any message that a load should meet.
const LONGEST: usize = 65_535;

/// Room for bursts: all calls of a moment end together.
const BUFFER_BYTES: usize = 8 << 20;

impl SipSocket {
    /// Binds in the network namespace of this thread. Port 0 lets the kernel choose.
    pub fn bind(address: SocketAddr, transport: Transport) -> io::Result<SipSocket> {
        match transport {
            Transport::Udp => SipSocket::from_udp(UdpSocket::bind(address)?),
            Transport::Tcp => {
                let streams = Streams::bind(address)?;
                Ok(SipSocket { address: streams.address(), carrier: Carrier::Tcp(streams), refused: VecDeque::new() })
            }
        }
    }

    fn from_udp(socket: UdpSocket) -> io::Result<SipSocket> {
        socket.set_nonblocking(true)?;
        // So that a port at which nobody listens is known at once, and not after 32 seconds.
        if socket.local_addr()?.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
        }
        // Above the system's limit only with the capability; what the kernel grants serves small loads.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &BUFFER_BYTES));
        Ok(SipSocket { address: socket.local_addr()?, carrier: Carrier::Udp(socket), refused: VecDeque::new() })
    }

    /// Where it is bound: what the agent says of itself.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it carries messages over.
    pub fn transport(&self) -> Transport {
        match self.carrier {
            Carrier::Udp(_) => Transport::Udp,
            Carrier::Tcp(_) => Transport::Tcp,
        }
    }

    /// Sends a message. What is lost on the way, timers send again.
    pub(crate) fn send(&mut self, bytes: &[u8], to: SocketAddr) {
        use io::ErrorKind::{ConnectionRefused, WouldBlock};
        let refused = match &mut self.carrier {
            Carrier::Tcp(streams) => streams.send(bytes, to).is_err(),
            // An error of an earlier datagram is reported by the next send, which then has to be repeated.
            Carrier::Udp(socket) => match socket.send_to(bytes, to) {
                Err(_) => socket.send_to(bytes, to).is_err_and(|error| {
                    // Refusals by the peer's host are read from the queue of errors, with their address.
                    !matches!(error.kind(), ConnectionRefused | WouldBlock)
                }),
                Ok(_) => false,
            },
        };
        if refused {
            self.refuse(to);
        }
    }

    /// The next message and where it came from; `None` if nothing waits.
    pub(crate) fn receive(&mut self, buffer: &mut Buffer) -> Option<(Vec<u8>, SocketAddr)> {
        match &mut self.carrier {
            Carrier::Tcp(streams) => {
                let message = streams.receive(&mut buffer.0);
                self.refused.extend(std::iter::from_fn(|| streams.refused()));
                self.refused.truncate(MAX_REFUSED);
                message
            }
            Carrier::Udp(socket) => loop {
                match socket.recv_from(&mut buffer.0) {
                    Ok((length, source)) => {
                        break buffer.0.get(..length).map(|bytes| (bytes.to_vec(), plain(source)));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        let unreachable = take_error(socket, &mut buffer.0)?;
                        self.refused.push_back(unreachable);
                        self.refused.truncate(MAX_REFUSED);
                    }
                    // Said again, and with its address, by the queue of errors.
                    Err(_) => {}
                }
            },
        }
    }

    /// An address that cannot be reached, told once for each failure.
    pub(crate) fn refused(&mut self) -> Option<SocketAddr> {
        self.refused.pop_front()
    }

    /// What to wait for.
    pub(crate) fn interests(&self) -> Vec<PollFd<'_>> {
        match &self.carrier {
            Carrier::Udp(socket) => vec![PollFd::new(socket.as_fd(), PollFlags::POLLIN)],
            Carrier::Tcp(streams) => streams.interests(),
        }
    }

    fn refuse(&mut self, address: SocketAddr) {
        self.refused.push_back(address);
        self.refused.truncate(MAX_REFUSED);
    }
}

/// More are not told apart: the same address is refused again and again.
const MAX_REFUSED: usize = 64;

/// Where messages are received into, used again for each.
pub(crate) struct Buffer(Box<[u8]>);

impl Buffer {
    pub(crate) fn new() -> Buffer {
        Buffer(vec![0; LONGEST].into_boxed_slice())
    }
}

/// Takes one error off the queue of the socket: the destination of the datagram that was refused.
fn take_error(socket: &UdpSocket, buffer: &mut [u8]) -> Option<SocketAddr> {
    let mut slices = [IoSliceMut::new(buffer)];
    let mut space = nix::cmsg_space!([u8; 64]);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags).ok()?;
    let is_error = message
        .cmsgs()
        .ok()?
        .any(|control| matches!(control, ControlMessageOwned::Ipv4RecvErr(..) | ControlMessageOwned::Ipv6RecvErr(..)));
    is_error.then(|| message.address.and_then(|address| socket_address(&address)))?
}

/// Without scope and flow label, which no message names.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn bound(transport: Transport) -> SipSocket {
        SipSocket::bind("127.0.0.1:0".parse().unwrap(), transport).unwrap()
    }

    /// Polls until something comes of it.
    fn until<T>(mut poll: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(found) = poll() {
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    const MESSAGE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 2\r\n\r\nhi";

    #[test]
    fn messages_cross_and_answers_go_back_to_their_source() {
        for transport in [Transport::Udp, Transport::Tcp] {
            let (mut one, mut other) = (bound(transport), bound(transport));
            let mut buffer = Buffer::new();
            one.send(MESSAGE, other.address());
            one.send(MESSAGE, other.address());
            let mut answers = Vec::new();
            for _ in 0..2 {
                let (bytes, source) = until(|| {
                    answers.extend(one.receive(&mut buffer));
                    other.receive(&mut buffer)
                });
                assert_eq!(bytes, MESSAGE);
                other.send(MESSAGE, source);
            }
            until(|| {
                answers.extend(one.receive(&mut buffer));
                assert!(other.receive(&mut buffer).is_none());
                (answers.len() == 2).then_some(())
            });
            assert!(answers.iter().all(|(bytes, _)| bytes == MESSAGE));
            assert_eq!((one.refused(), other.refused()), (None, None));
        }
    }

    #[test]
    fn a_port_at_which_nobody_listens_is_told() {
        for transport in [Transport::Udp, Transport::Tcp] {
            let nobody = bound(transport).address();
            let (mut socket, mut buffer) = (bound(transport), Buffer::new());
            socket.send(MESSAGE, nobody);
            let refused = until(|| {
                assert!(socket.receive(&mut buffer).is_none());
                socket.refused()
            });
            assert_eq!(refused, nobody, "{transport}");
        }
    }
}
