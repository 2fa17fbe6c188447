//! What is in a socket's receive queue, and what found no room there.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::null_mut;

/// More datagrams than a receive buffer of the size that is asked for holds, each of which takes some hundred bytes.
const MOST: u64 = 4096;

/// The places of `SO_MEMINFO` (`linux/sock_diag.h`) that are of interest here, and how many there are.
const RECEIVE_BYTES: usize = libc::SK_MEMINFO_RMEM_ALLOC as usize;
const DROPS: usize = libc::SK_MEMINFO_DROPS as usize;
const PLACES: usize = 9;

/// A socket's receive queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queue {
    /// The memory that it takes; 0 where it is empty.
    pub(super) bytes: u32,
    /// Datagrams that it had no room for, since the socket was opened.
    pub(super) overflowed: u32,
}

/// Asks the kernel.
pub(super) fn of(socket: &OwnedFd) -> io::Result<Queue> {
    let mut places = [0u32; PLACES];
    let mut length = size_of_val(&places) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `places`, which has so many, and the length to `length`.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            places.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    match done {
        0 => Ok(Queue { bytes: places[RECEIVE_BYTES], overflowed: places[DROPS] }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes what is there, to be forgotten; answers how many datagrams it was.
pub(super) fn drain(socket: &OwnedFd) -> u64 {
    let mut taken = 0;
    while taken < MOST {
        // SAFETY: a null pointer with length 0 is written to by nobody; of the datagram nothing is copied.
        let received = unsafe { libc::recv(socket.as_raw_fd(), null_mut(), 0, libc::MSG_DONTWAIT) };
        if received < 0 {
            break;
        }
        taken += 1;
    }
    taken
}
