//! What a datapath on top of this one needs: whose a port is, a way out for packets that came another way or were made
//! here, and descriptors that end a sleep.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use io_uring::opcode;
use io_uring::types::Fd;
use moorline_relay::{EndpointId, Traffic};

use super::slots::Token;
use super::{BUFFERS, Forwarded, PREFIX, Uring};
use crate::datapath::{BATCH, MAX_DATAGRAM, Setup, Tally};

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

    /// Ends the next sleep, or one after it, when this descriptor has something to read; [`rung`](Self::rung) says
    /// so then, once. It must not be closed before.
    ///
    /// # Errors
    /// As [`queue`](Self::queue).
    pub(in crate::datapath) fn watch(&mut self, descriptor: RawFd, place: u32) -> io::Result<()> {
        let token = Token::Watch { place };
        let entry = opcode::PollAdd::new(Fd(descriptor), libc::POLLIN as u32).build().user_data(token.encode());
        self.push(&entry)
    }

    /// The places of the watched descriptors that have had something to read since this was last asked.
    pub(in crate::datapath) fn rung(&mut self) -> impl Iterator<Item = u32> {
        self.rung.drain(..)
    }
}
