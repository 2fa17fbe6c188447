//! From completions to packets, verdicts and queued sends.

use std::io;
use std::net::SocketAddr;

use io_uring::types::{Fixed, RecvMsgOut};
use io_uring::{cqueue, opcode, squeue};
use moorline_relay::{EndpointId, Verdict};

use super::slots::Token;
use super::{Forwarded, REARM_PAUSE, Uring};
use crate::datapath::address::{Name, parse};
use crate::datapath::control_message::received_ns;
use crate::datapath::{KernelDrop, MAX_DATAGRAM, Packet, Tally};
use crate::shard::clock;

impl Uring {
    /// Goes through the completions of a batch; the sends that come of it are queued.
    pub(super) fn handle(
        &mut self,
        completions: &[cqueue::Entry],
        tally: &mut Tally,
        verdict: &mut impl FnMut(Packet<'_>) -> Verdict,
    ) -> io::Result<()> {
        for completion in completions {
            match Token::decode(completion.user_data()) {
                Some(token @ Token::Receive { endpoint, generation }) => {
                    let open = self.slots.file_of(endpoint, generation).is_some();
                    if let Some(buffer) = cqueue::buffer_select(completion.flags()) {
                        // Given back with the batch, whether it is sent from or not.
                        self.batch.used.push(buffer);
                        match open {
                            true => self.packet(endpoint, buffer, completion.result(), tally, verdict)?,
                            false => tally.drop(KernelDrop::Closed),
                        }
                    }
                    if open && !cqueue::more(completion.flags()) {
                        self.receive_ended(token, completion.result(), tally);
                    }
                }
                // Of a batch before, which is over: the completion queue had been full.
                Some(Token::Send { .. }) => {
                    tally.drop(KernelDrop::of_send(&io::Error::from_raw_os_error(-completion.result())));
                }
                Some(Token::Wake) => {
                    // The count does not matter, only that it is back at 0.
                    let _ = nix::unistd::read(&self.wake, &mut [0; 8]);
                    if !cqueue::more(completion.flags()) {
                        self.arm_wake()?;
                    }
                }
                Some(Token::Files) => {
                    let error = io::Error::from_raw_os_error(-completion.result());
                    tracing::error!(%error, "io_uring did not change its file table: a port is deaf or not let go of");
                }
                // A cancel that found its receive ended already is no failure.
                Some(Token::Cancel | Token::Close) | None => {}
            }
        }
        Ok(())
    }

    /// One received datagram: asks for the verdict and queues the send.
    fn packet(
        &mut self,
        endpoint: EndpointId,
        buffer: u16,
        result: i32,
        tally: &mut Tally,
        verdict: &mut impl FnMut(Packet<'_>) -> Verdict,
    ) -> io::Result<()> {
        let filled = usize::try_from(result).ok();
        let bytes = filled.and_then(|filled| self.buffers.get(buffer)?.get(..filled));
        let Some(received) = bytes.and_then(|bytes| RecvMsgOut::parse(bytes, &self.message).ok()) else {
            tally.drop(KernelDrop::Receive);
            return Ok(());
        };
        if let Some(lost) = self.slots.lost(endpoint) {
            tally.overflow(lost.newly(received.control_data()));
        }
        let payload = received.payload_data();
        // The buffer is rounded up and may hold a little more than the limit.
        if received.is_payload_truncated() || payload.len() > MAX_DATAGRAM {
            tally.drop(KernelDrop::Truncated);
            return Ok(());
        }
        let Some(source) = parse(received.name_data()) else {
            tally.drop(KernelDrop::Receive);
            return Ok(());
        };
        if let Verdict::Forward { from, to, traffic } = verdict(Packet { endpoint, source, payload }) {
            let stamp = received_ns(received.control_data()).unwrap_or_else(clock::realtime_ns);
            let (address, bytes) = (payload.as_ptr(), payload.len() as u32);
            let packet = Forwarded { received_ns: Some(stamp), traffic, bytes };
            self.send(from, to, address, packet, tally)?;
        }
        Ok(())
    }

    /// Queues the send of the payload at `address`, which lies in a buffer of the batch.
    fn send(
        &mut self,
        from: EndpointId,
        to: SocketAddr,
        address: *const u8,
        packet: Forwarded,
        tally: &mut Tally,
    ) -> io::Result<()> {
        let Some(file) = self.slots.file(from) else {
            tally.count_unsent(KernelDrop::Closed, packet.traffic, packet.bytes as usize);
            return Ok(());
        };
        // At most one send per completion of the batch, so the names never move.
        debug_assert!(self.batch.names.len() < self.batch.names.capacity());
        let place = self.batch.names.len() as u32;
        self.batch.names.push(Name::new(to));
        let Some(name) = self.batch.names.last() else { return Ok(()) };
        let entry = opcode::Send::new(Fixed(file), address, packet.bytes)
            .flags(libc::MSG_DONTWAIT)
            .dest_addr(name.as_ptr())
            .dest_addr_len(name.len())
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Token::Send { place }.encode());
        self.batch.forwarded.push(packet);
        self.push(&entry)
    }

    /// After the submit of a batch: finds the sends that failed, and puts what else has completed aside. Sends
    /// do not wait, so by now each that failed has said so.
    pub(super) fn count_sent(&mut self, tally: &mut Tally) {
        for completion in self.ring.completion() {
            let Some(Token::Send { place }) = Token::decode(completion.user_data()) else {
                self.backlog.push_back(completion);
                continue;
            };
            let reason = KernelDrop::of_send(&io::Error::from_raw_os_error(-completion.result()));
            match self.batch.forwarded.get_mut(place as usize) {
                Some(packet) => {
                    packet.received_ns = None;
                    tally.count_unsent(reason, packet.traffic, packet.bytes as usize);
                }
                None => tally.drop(reason),
            }
        }
        let sent_ns = clock::realtime_ns();
        for received_ns in self.batch.forwarded.drain(..).filter_map(|packet| packet.received_ns) {
            tally.residence.record(received_ns, sent_ns);
        }
    }

    pub(super) fn receive_ended(&mut self, token: Token, result: i32, tally: &mut Tally) {
        match -result {
            libc::ENOBUFS => {
                tally.buffer_stalls += 1;
                self.ended.push(token);
            }
            // Ended with a packet: the completion queue was full, or the kernel gave other work a turn.
            _ if result >= 0 => self.ended.push(token),
            // The socket is not in the table, which has been reported.
            libc::EBADF => tally.drop(KernelDrop::Receive),
            _ => {
                tally.drop(KernelDrop::Receive);
                if self.failed.is_empty() {
                    self.rearm_at = clock::monotonic_ns().saturating_add(REARM_PAUSE.as_nanos() as u64);
                }
                self.failed.push(token);
            }
        }
    }
}
