//! From completions to packets, verdicts and queued sends.

use std::io;
use std::net::SocketAddr;

use io_uring::types::{Fixed, RecvMsgOut};
use io_uring::{cqueue, opcode, squeue};
use moorline_relay::{EndpointId, Verdict};

use super::buffers::Buffers;
use super::shared::{Addressed, NoWay, OVERSIZE_PER_BATCH, V6};
use super::slots::Token;
use super::{Forwarded, REARM_PAUSE, Uring};
use crate::datapath::address::{Name, parse};
use crate::datapath::control_message::Told;
use crate::datapath::{BATCH, Judge, KernelDrop, MAX_DATAGRAM, Packet, Tally};
use crate::shard::clock;

/// Packets that are looked at together: what all of them need is asked for before the first one is judged, and the memory
/// brings it while others are waited for.
pub(super) const GROUP: usize = 32;

/// A received datagram.
pub(super) struct Came {
    endpoint: EndpointId,
    source: SocketAddr,
    /// What it was sent to, where one socket serves all ports.
    destination: Option<SocketAddr>,
    received_ns: Option<u64>,
    /// The buffer that it lies in, and where.
    buffer: u16,
    begin: u16,
    length: u16,
}

impl Uring {
    /// Takes a batch of completions, unless one waits already; true if there is a new one.
    pub(in crate::datapath) fn gather(&mut self) -> io::Result<bool> {
        self.rearm_failed()?;
        if let Some(shared) = &mut self.shared {
            shared.begin();
            shared.follow_interfaces();
        }
        if !self.batch.completions.is_empty() {
            return Ok(false);
        }
        if self.backlog.is_empty() && self.ring.completion().is_empty() {
            let idle = {
                let submissions = self.ring.submission();
                !submissions.taskrun() && submissions.is_empty()
            };
            if idle {
                return Ok(false);
            }
            self.submit()?;
        }
        let completions = &mut self.batch.completions;
        completions.extend(self.backlog.drain(..self.backlog.len().min(BATCH)));
        completions.extend(self.ring.completion().take(BATCH - completions.len()));
        Ok(!completions.is_empty())
    }

    /// Relays what was gathered.
    pub(in crate::datapath) fn relay_gathered(
        &mut self,
        tally: &mut Tally,
        judge: &mut impl Judge,
    ) -> io::Result<usize> {
        let mut completions = std::mem::take(&mut self.batch.completions);
        let count = completions.len();
        if count == 0 {
            self.batch.completions = completions;
            return Ok(0);
        }
        let outcome = self.handle(&completions, tally, judge);
        completions.clear();
        self.batch.completions = completions;
        outcome?;

        self.submit()?;
        if !self.batch.forwarded.is_empty() {
            self.count_sent(tally);
        }
        // The submit has returned: no send reads a buffer or a name any more.
        self.batch.names.clear();
        for buffer in self.batch.used.drain(..) {
            self.buffers.give_back(buffer);
        }
        self.buffers.publish();
        while let Some(token) = self.ended.pop() {
            self.arm(token)?;
        }
        Ok(count)
    }

    /// Goes through the completions of a batch; the sends that come of it are queued.
    pub(super) fn handle(
        &mut self,
        completions: &[cqueue::Entry],
        tally: &mut Tally,
        judge: &mut impl Judge,
    ) -> io::Result<()> {
        for group in completions.chunks(GROUP) {
            let mut came = std::mem::take(&mut self.batch.came);
            for completion in group {
                came.extend(self.completed(completion, tally)?);
            }
            self.look_up(&mut came, tally, judge);
            for packet in came.drain(..) {
                self.packet(&packet, tally, judge)?;
            }
            self.batch.came = came;
        }
        Ok(())
    }

    /// Deals with a completion, or answers the datagram that it brought.
    fn completed(&mut self, completion: &cqueue::Entry, tally: &mut Tally) -> io::Result<Option<Came>> {
        let mut came = None;
        match Token::decode(completion.user_data()) {
            Some(token @ Token::Receive { endpoint, generation }) => {
                let open = self.shared.is_some() || self.slots.file_of(endpoint, generation).is_some();
                if let Some(buffer) = cqueue::buffer_select(completion.flags()) {
                    // Given back with the batch, whether it is sent from or not.
                    self.batch.used.push(buffer);
                    match open {
                        true => came = self.received(endpoint, buffer, completion.result(), tally),
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
        Ok(came)
    }

    /// Reads what a receive brought.
    #[inline]
    fn received(&mut self, receive: EndpointId, buffer: u16, result: i32, tally: &mut Tally) -> Option<Came> {
        let filled = usize::try_from(result).ok();
        let bytes = filled.and_then(|filled| self.buffers.get(buffer)?.get(..filled));
        let message = &self.messages[self.message_of(receive)];
        let Some((bytes, received)) = bytes.and_then(|bytes| Some((bytes, RecvMsgOut::parse(bytes, message).ok()?)))
        else {
            tally.drop(KernelDrop::Receive);
            return None;
        };
        let told = Told::read(received.control_data());
        match &mut self.shared {
            None => {
                if let Some(lost) = self.slots.lost(receive) {
                    tally.overflow(lost.newly(&told));
                }
            }
            Some(shared) => tally.overflow(shared.lost(receive == V6, &told)),
        }
        let payload = received.payload_data();
        // The buffer is rounded up and may hold a little more than the limit.
        if received.is_payload_truncated() || payload.len() > MAX_DATAGRAM {
            tally.drop(KernelDrop::Truncated);
            return None;
        }
        let Some(source) = parse(received.name_data()) else {
            tally.drop(KernelDrop::Receive);
            return None;
        };
        let begin = (bytes.len() - payload.len()) as u16;
        Some(Came {
            endpoint: receive,
            source,
            destination: told.destination,
            received_ns: told.received_ns,
            buffer,
            begin,
            length: payload.len() as u16,
        })
    }

    /// Finds the ports that datagrams came to, and asks for the memory that they need: in one go for each step, so that
    /// none waits for another's.
    fn look_up(&self, came: &mut Vec<Came>, tally: &mut Tally, judge: &mut impl Judge) {
        if let Some(shared) = &self.shared {
            came.retain_mut(|packet| {
                let owner = packet.destination.and_then(|to| shared.owner_at(to, packet.received_ns));
                match owner {
                    Some(owner) => packet.endpoint = owner,
                    None => tally.drop(KernelDrop::Closed),
                }
                owner.is_some()
            });
        }
        let mut leaves = [EndpointId(0); GROUP];
        for (packet, leaves) in came.iter().zip(&mut leaves) {
            *leaves = judge.expect(packet.endpoint);
        }
        if let Some(shared) = &self.shared {
            leaves.iter().take(came.len()).for_each(|port| shared.expect(*port));
        }
    }

    /// One received datagram: asks for the verdict and queues the send.
    fn packet(&mut self, came: &Came, tally: &mut Tally, judge: &mut impl Judge) -> io::Result<()> {
        let Came { endpoint, source, received_ns, buffer, begin, length, .. } = *came;
        let bytes = self.buffers.get(buffer).and_then(|bytes| bytes.get(begin.into()..)?.get(..length.into()));
        let Some(payload) = bytes else { return Ok(()) };
        if let Verdict::Forward { from, to, traffic } = judge.verdict(Packet { endpoint, source, payload }) {
            let stamp = received_ns.unwrap_or_else(clock::realtime_ns);
            let packet = Forwarded { received_ns: Some(stamp), traffic, bytes: length.into(), buffer, begin, length };
            self.send(from, to, packet, tally)?;
        }
        Ok(())
    }

    /// Queues the send of a packet, which lies in a buffer of the batch.
    pub(super) fn send(
        &mut self,
        from: EndpointId,
        to: SocketAddr,
        mut packet: Forwarded,
        tally: &mut Tally,
    ) -> io::Result<()> {
        let payload = packet.begin.into()..usize::from(packet.begin + packet.length);
        let addressed = match &mut self.shared {
            None => self.slots.file(from).ok_or(NoWay::Closed).map(|file| Addressed {
                begin: payload.start,
                length: payload.len(),
                ip: payload.start,
                file,
                name: Name::new(to),
            }),
            Some(shared) => {
                let buffer = self.buffers.get_mut(packet.buffer).ok_or(NoWay::Destination);
                buffer.and_then(|buffer| shared.address(buffer, payload, from, to))
            }
        };
        let Addressed { begin, length, ip, file, name } = match addressed {
            Ok(addressed) => addressed,
            Err(no_way) => {
                let reason = if no_way == NoWay::Closed { KernelDrop::Closed } else { KernelDrop::Send };
                tally.count_unsent(reason, packet.traffic, packet.bytes as usize);
                return Ok(());
            }
        };
        // Should it be above the limit of its path, it is sent again from its IP header on.
        (packet.begin, packet.length) = (ip as u16, (begin + length - ip) as u16);
        let bytes = self.buffers.get(packet.buffer).and_then(|buffer| buffer.get(begin..));
        let Some(address) = bytes.map(<[u8]>::as_ptr) else { return Ok(()) };
        // At most one send per completion of the batch, so the names never move.
        debug_assert!(self.batch.names.len() < self.batch.names.capacity());
        let place = self.batch.names.len() as u32;
        self.batch.names.push(name);
        let Some(name) = self.batch.names.last() else { return Ok(()) };
        let entry = opcode::Send::new(Fixed(file), address, length as u32)
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
        let mut oversize = 0;
        for completion in self.ring.completion() {
            let Some(Token::Send { place }) = Token::decode(completion.user_data()) else {
                self.backlog.push_back(completion);
                continue;
            };
            let mut reason = KernelDrop::of_send(&io::Error::from_raw_os_error(-completion.result()));
            match self.batch.forwarded.get_mut(place as usize) {
                Some(packet) => {
                    if let Some(shared) = &self.shared
                        && completion.result() == -libc::EMSGSIZE
                        && oversize < OVERSIZE_PER_BATCH
                    {
                        oversize += 1;
                        match packet.lies_in(&self.buffers).map(|bytes| shared.send_oversize(bytes)) {
                            Some(Ok(())) => continue,
                            Some(Err(error)) => reason = KernelDrop::of_send(&error),
                            None => {}
                        }
                    }
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

impl Forwarded {
    /// What is sent, without the header of the link.
    fn lies_in<'a>(&self, buffers: &'a Buffers) -> Option<&'a [u8]> {
        let (begin, length) = (usize::from(self.begin), usize::from(self.length));
        buffers.get(self.buffer)?.get(begin..)?.get(..length)
    }
}
