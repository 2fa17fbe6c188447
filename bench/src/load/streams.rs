//! The TCP connections of one side, and the messages in them (RFC 3261 section 18.3).

use std::collections::VecDeque;
use std::fs::{File, Metadata, metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};

/// A listener, and the connections made and accepted.
#[derive(Debug)]
pub(crate) struct Streams {
    listener: TcpListener,
    address: SocketAddr,
    /// The network namespace in which the listener was made: connections are to be made there too.
    namespace: Option<File>,
    connections: Vec<Connection>,
    messages: VecDeque<(Vec<u8>, SocketAddr)>,
    refused: VecDeque<SocketAddr>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    /// The beginning of a message.
    inbox: Vec<u8>,
    /// What the kernel has not taken yet.
    outbox: Vec<u8>,
    is_over: bool,
    /// It broke, and not by the peer's closing it.
    is_broken: bool,
}

/// The network namespace of the thread that looks.
const NAMESPACE: &str = "/proc/thread-self/ns/net";

/// Peers beyond that are not accepted.
const MAX_CONNECTIONS: usize = 1024;

/// The longest message, and the most that may wait to be sent to a peer that does not read.
const MAX_MESSAGE: usize = 65_536;
const MAX_OUTBOX: usize = 8 << 20;

impl Streams {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Streams> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (messages, refused) = (VecDeque::new(), VecDeque::new());
        // Without /proc there are no names for namespaces either.
        let namespace = File::open(NAMESPACE).ok();
        Ok(Streams { listener, address, namespace, connections: Vec::new(), messages, refused })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends on the connection with that peer, which is made if there is none.
    pub(crate) fn send(&mut self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let connection = match self.connections.iter().position(|connection| connection.peer == to) {
            Some(index) => self.connections.get_mut(index),
            None => {
                let stream = self.connecting(to)?;
                self.connections.push(Connection::new(stream, to));
                self.connections.last_mut()
            }
        };
        if let Some(connection) = connection {
            connection.outbox.extend_from_slice(bytes);
            connection.flush();
        }
        Ok(())
    }

    /// The next message; `None` if nothing waits.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Option<(Vec<u8>, SocketAddr)> {
        if self.messages.is_empty() {
            self.look(buffer);
        }
        self.messages.pop_front()
    }

    /// A peer that could not be reached.
    pub(crate) fn refused(&mut self) -> Option<SocketAddr> {
        self.refused.pop_front()
    }

    pub(crate) fn interests(&self) -> Vec<PollFd<'_>> {
        let listener = PollFd::new(self.listener.as_fd(), PollFlags::POLLIN);
        let connections = self.connections.iter().map(|connection| {
            let out = if connection.outbox.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
            PollFd::new(connection.stream.as_fd(), PollFlags::POLLIN | out)
        });
        std::iter::once(listener).chain(connections).collect()
    }

    /// A connection on its way, made in a thread of its own where that must enter a namespace.
    fn connecting(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let inode = |file: io::Result<Metadata>| file.map(|metadata| metadata.ino()).ok();
        let own = self.namespace.as_ref().and_then(|file| inode(file.metadata()));
        match &self.namespace {
            Some(namespace) if own != inode(metadata(NAMESPACE)) => {
                let enter_and_connect = || {
                    setns(namespace, CloneFlags::CLONE_NEWNET)?;
                    connecting(self.address, to)
                };
                let made = std::thread::scope(|scope| scope.spawn(enter_and_connect).join());
                made.map_err(|_| io::Error::other("the connecting thread panicked"))?
            }
            _ => connecting(self.address, to),
        }
    }

    /// One look at everything that may have happened.
    fn look(&mut self, buffer: &mut [u8]) {
        while let Ok((stream, peer)) = self.listener.accept() {
            if self.connections.len() < MAX_CONNECTIONS && stream.set_nonblocking(true).is_ok() {
                let _ = stream.set_nodelay(true);
                self.connections.push(Connection::new(stream, SocketAddr::new(peer.ip(), peer.port())));
            }
        }
        for connection in &mut self.connections {
            connection.flush();
            connection.fill(buffer);
            while let Some(message) = connection.next_message() {
                self.messages.push_back((message, connection.peer));
            }
            if connection.is_broken {
                self.refused.push_back(connection.peer);
            }
        }
        self.connections.retain(|connection| !connection.is_over);
    }
}

impl Connection {
    fn new(stream: TcpStream, peer: SocketAddr) -> Connection {
        Connection { stream, peer, inbox: Vec::new(), outbox: Vec::new(), is_over: false, is_broken: false }
    }

    /// Gives the kernel what it takes.
    fn flush(&mut self) {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(0) => self.is_over = true,
                Ok(written) => {
                    self.outbox.drain(..written);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // NotConnected: still connecting.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    self.is_over |= self.outbox.len() > MAX_OUTBOX;
                }
                Err(_) => self.fail(),
            }
            return;
        }
    }

    /// Takes what has arrived.
    fn fill(&mut self, buffer: &mut [u8]) {
        // Bounded, so that one peer does not keep the others waiting.
        for _ in 0..64 {
            match self.stream.read(buffer) {
                Ok(0) => self.is_over = true,
                Ok(length) => {
                    self.inbox.extend_from_slice(buffer.get(..length).unwrap_or_default());
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {}
                Err(_) => self.fail(),
            }
            return;
        }
    }

    fn fail(&mut self) {
        (self.is_over, self.is_broken) = (true, true);
    }

    fn next_message(&mut self) -> Option<Vec<u8>> {
        // Keep-alives stand between messages (RFC 5626 section 3.5.1).
        let start = self.inbox.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(self.inbox.len());
        self.inbox.drain(..start);
        let Some(length) = message_length(&self.inbox) else {
            // What has no end within reason is no SIP.
            self.is_over |= self.inbox.len() > MAX_MESSAGE;
            return None;
        };
        if length > MAX_MESSAGE {
            self.is_over = true;
            return None;
        }
        (length <= self.inbox.len()).then(|| self.inbox.drain(..length).collect())
    }
}

/// The length of the message at the start of `bytes`, once its headers are there.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(bytes.get(..head)?);
    let body = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.trim().eq_ignore_ascii_case("Content-Length") || name.trim().eq_ignore_ascii_case("l");
        is_length.then(|| value.trim().parse::<usize>().unwrap_or(usize::MAX))
    });
    Some((head + 4).saturating_add(body.unwrap_or(0)))
}

/// A connection on its way from the address of `local`, any port of it.
fn connecting(local: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let descriptor = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    bind(descriptor.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(local.ip(), 0)))?;
    match connect(descriptor.as_raw_fd(), &SockaddrStorage::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {
            let stream = TcpStream::from(descriptor);
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_messages() {
        assert_eq!(message_length(b"A\r\nContent-Length: 3\r\n\r\nabcdef"), Some(27));
        assert_eq!(message_length(b"A\r\nl:0\r\n\r\n"), Some(10));
        assert_eq!(message_length(b"A\r\n\r\n"), Some(5));
        assert_eq!(message_length(b"A\r\nl: 3\r\n"), None);
        assert_eq!(message_length(b"A\r\nl: -3\r\n\r\n"), Some(usize::MAX));
    }

    #[test]
    fn messages_are_parted_wherever_they_are_split() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, address) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut connection = Connection::new(stream, address);
        let text = b"\r\n\r\nA\r\nl: 2\r\n\r\nhiB\r\nl: 0\r\n\r\n\r\n";
        let mut found = Vec::new();
        for byte in text {
            peer.write_all(&[*byte]).unwrap();
            let mut one = [0];
            // The byte is on its way through the loopback.
            while connection.stream.peek(&mut one).is_err() {}
            connection.fill(&mut [0; 16]);
            found.extend(connection.next_message());
        }
        assert_eq!(found, [&b"A\r\nl: 2\r\n\r\nhi"[..], b"B\r\nl: 0\r\n\r\n"]);
        assert!(!connection.is_over);
    }

    #[test]
    fn what_is_no_sip_ends_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut connection = Connection::new(stream, listener.local_addr().unwrap());
        connection.inbox = vec![b'x'; MAX_MESSAGE + 1];
        assert_eq!(connection.next_message(), None);
        assert!(connection.is_over);
    }
}
