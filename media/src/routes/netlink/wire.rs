//! A netlink socket, and the messages in what it gives.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_packet_core::{NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer};
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

/// The largest piece in which the kernel gives a long answer is half of this.
const BUFFER: usize = 64 * 1024;
/// What waits to be read: some thousand events.
pub(super) const RECEIVE_BUFFER: usize = 4 << 20;
/// The kernel answers at once, if it does.
const PATIENCE: Duration = Duration::from_secs(1);

/// A message of the kernel.
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// All of it, with its header.
    pub(super) bytes: &'a [u8],
    pub(super) payload: &'a [u8],
}

impl Message<'_> {
    /// The error that this message is about: `Some(Ok(()))` for an acknowledgement or the end of a long answer.
    pub(super) fn outcome(&self) -> Option<io::Result<()>> {
        if self.kind != NLMSG_ERROR && self.kind != NLMSG_DONE {
            return None;
        }
        // The end of a long answer need not have a code.
        let code = self.payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
        Some(if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.saturating_neg())) })
    }
}

pub(super) struct Wire {
    socket: Socket,
    buffer: Box<[u8]>,
}

impl Wire {
    /// A socket of a netlink protocol that is told what happens in `groups`.
    pub(super) fn open(protocol: isize, groups: &[u32], receive_buffer: usize) -> io::Result<Wire> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        // Beyond the usual limit takes CAP_NET_ADMIN; without it what there is has to do.
        if setsockopt(&socket, sockopt::RcvBufForce, &receive_buffer).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &receive_buffer)?;
        }
        for group in groups {
            socket.add_membership(*group)?;
        }
        Ok(Wire { socket, buffer: vec![0; BUFFER].into() })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0).map(drop)
    }

    /// The next piece that the kernel has sent; `None` if there is none yet.
    ///
    /// # Errors
    /// `ENOBUFS` if pieces were lost.
    pub(super) fn receive(&mut self) -> io::Result<Option<impl Iterator<Item = Message<'_>>>> {
        loop {
            let mut room = &mut self.buffer[..];
            match self.socket.recv_from(&mut room, libc::MSG_TRUNC) {
                // Other processes can send to this socket too.
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok((length, _)) if length > self.buffer.len() => return Err(Errno::ENOBUFS.into()),
                Ok((length, _)) => return Ok(Some(messages(&self.buffer[..length]))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands over the messages of the next pieces until `done` says so, for one second at most.
    pub(super) fn collect(&mut self, mut done: impl FnMut(Message<'_>) -> io::Result<bool>) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(messages) = self.receive()? {
                for message in messages {
                    if done(message)? {
                        return Ok(());
                    }
                }
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The messages of a piece; it ends at the first that is none.
fn messages(piece: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = piece;
    std::iter::from_fn(move || {
        let buffer = NetlinkBuffer::new_checked(rest).ok()?;
        let length = buffer.length() as usize;
        let (kind, flags, sequence, bytes) =
            (buffer.message_type(), buffer.flags(), buffer.sequence_number(), rest.get(..length)?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, flags, sequence, bytes, payload: bytes.get(HEADER..)? })
    })
}

/// A netlink header.
pub(super) const HEADER: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = (HEADER + payload.len()) as u32;
        let mut bytes =
            [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 2], &7u32.to_ne_bytes(), &[0; 4]].concat();
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_piece_is_taken_apart() {
        let piece = [message(16, &[1, 2, 3]), message(NLMSG_ERROR, &(-2i32).to_ne_bytes()), message(NLMSG_DONE, &[])];
        let piece = piece.concat();
        let all: Vec<_> = messages(&piece).collect();
        assert_eq!(
            all.iter().map(|m| (m.kind, m.sequence, m.payload.len())).collect::<Vec<_>>(),
            [(16, 7, 3), (NLMSG_ERROR, 7, 4), (NLMSG_DONE, 7, 0)]
        );
        assert!(all[0].outcome().is_none());
        assert_eq!(all[1].outcome().unwrap().unwrap_err().raw_os_error(), Some(libc::ENOENT));
        assert!(all[2].outcome().unwrap().is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for message in messages(&bytes) {
                let _ = message.outcome();
            }
        }
    }
}
