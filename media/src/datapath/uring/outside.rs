//! What a datapath on top of this one needs: whose a port is, a way out for packets that came another way or were made
//! here, and a sleep that other descriptors end too.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use moorline_relay::{EndpointId, Traffic};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{BUFFERS, Forwarded, PREFIX, REARM_PAUSE, Uring};
use crate::datapath::{BATCH, Datapath, MAX_DATAGRAM, Setup, Tally};

/// What a local port sends with.
#[derive(Debug, Clone, Copy)]
pub(in crate::datapath) struct Sends {
    pub(in crate::datapath) address: SocketAddr,
    pub(in crate::datapath) traffic_class: u8,
}

impl Uring {
    /// As [`new`](crate::datapath::Datapath::new), also for a datapath on top.
    ///
    /// # Errors
    /// What the system lacks.
    pub(in crate::datapath) fn beneath(setup: Setup) -> io::Result<Uring> {
        Uring::with_buffers(setup, BUFFERS, BATCH as u16)
    }

    /// The endpoint of a datagram that was sent to this address and came at this time, of the real-time clock; `None`
    /// if its port was closed, or opened only later.
    #[inline]
    pub(in crate::datapath) fn owner(&self, destination: SocketAddr, received_ns: u64) -> Option<EndpointId> {
        self.shared.as_ref()?.owner_at(destination, Some(received_ns))
    }

    /// What an open port sends with.
    #[inline]
    pub(in crate::datapath) fn sends(&self, endpoint: EndpointId) -> Option<Sends> {
        let (address, traffic_class) = self.shared.as_ref()?.sends(endpoint)?;
        Some(Sends { address, traffic_class })
    }

    /// Queues a datagram that came another way, or that was made here, between two batches; it is copied. `received_ns`
    /// is when it came.
    ///
    /// # Errors
    /// Only what makes the datapath unusable.
    pub(in crate::datapath) fn queue(
        &mut self,
        from: EndpointId,
        to: SocketAddr,
        payload: &[u8],
        received_ns: Option<u64>,
        traffic: Traffic,
        tally: &mut Tally,
    ) -> io::Result<()> {
        if self.outside == BATCH {
            self.send_queued(tally)?;
        }
        debug_assert!(payload.len() <= MAX_DATAGRAM);
        let buffer = self.buffers.count() + self.outside as u16;
        let Some(bytes) = self.buffers.get_mut(buffer).and_then(|bytes| bytes.get_mut(PREFIX..PREFIX + payload.len()))
        else {
            return Ok(());
        };
        bytes.copy_from_slice(payload);
        self.outside += 1;
        let (begin, length) = (PREFIX as u16, payload.len() as u16);
        let packet = Forwarded { received_ns, traffic, bytes: length.into(), buffer, begin, length };
        self.send(from, to, packet, tally)
    }

    /// Sends what was queued.
    ///
    /// # Errors
    /// As [`queue`](Self::queue).
    pub(in crate::datapath) fn send_queued(&mut self, tally: &mut Tally) -> io::Result<()> {
        if self.outside == 0 {
            return Ok(());
        }
        self.submit()?;
        self.count_sent(tally);
        // The submit has returned: nothing is read any more.
        self.batch.names.clear();
        self.outside = 0;
        Ok(())
    }

    /// As [`sleep`](crate::datapath::Datapath::sleep), and ends when one of these descriptors has something to read too.
    ///
    /// # Errors
    /// As [`queue`](Self::queue).
    pub(in crate::datapath) fn sleep_beside(
        &mut self,
        limit: Duration,
        others: &mut Vec<libc::pollfd>,
    ) -> io::Result<()> {
        self.submit()?;
        let told = self.tell()?;
        // What is put off from here on is told of.
        if self.waiting() {
            return Ok(());
        }
        others.push(libc::pollfd { fd: told, events: libc::POLLIN, revents: 0 });
        let limit = if self.failed.is_empty() { limit } else { limit.min(REARM_PAUSE) };
        let limit = libc::timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        // SAFETY: the kernel reads and writes `others.len()` entries, and reads `limit`; both outlive the call.
        let woken =
            unsafe { libc::ppoll(others.as_mut_ptr(), others.len() as u64, &raw const limit, std::ptr::null()) };
        if woken < 0 {
            let error = io::Error::last_os_error();
            if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) {
                return Err(error);
            }
        }
        if let (Some(told), Some(libc::pollfd { revents: 1.., .. })) = (&self.told, others.last()) {
            // The count does not matter, only that it is back at 0.
            let _ = told.read();
        }
        self.rearm_failed()
    }

    /// The descriptor that has something to read once the ring has: a poll of the ring itself is told of completions
    /// only, and not of work that the kernel has put off until the shard asks for it.
    fn tell(&mut self) -> io::Result<RawFd> {
        if let Some(told) = &self.told {
            return Ok(told.as_fd().as_raw_fd());
        }
        let told = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        let descriptor = told.as_fd().as_raw_fd();
        self.ring.submitter().register_eventfd(descriptor)?;
        self.told = Some(told);
        Ok(descriptor)
    }
}
