//! Which packets have their turn: those of the rings before those that came later by the sockets beneath.
//!
//! A flow whose queue changes, because the card spreads flows anew, comes by a ring at first and by a socket then, or the
//! other way round. From ring to socket: what the sockets have is gathered, and dealt with only when the rings have been
//! emptied as far as they were filled by then. From socket to ring: the program leaves a flow with the kernel until
//! what went that way has been dealt with.

use std::io;

use super::AfXdp;
use crate::datapath::{BATCH, Datapath, Judge, Tally};
use crate::shard::clock;

/// How often that is, at most.
const COUNT_NS: u64 = 1_000_000_000;

impl AfXdp {
    /// As [`relay`](crate::datapath::Datapath::relay).
    pub(super) fn relay_in_turn(&mut self, tally: &mut Tally, judge: &mut impl Judge) -> io::Result<usize> {
        if self.beneath.gather()? {
            for queue in &mut self.queues {
                queue.before = queue.socket.look();
            }
        }
        let count = if self.queues.is_empty() { 0 } else { self.relay_rings(tally, judge)? };
        if self.queues.iter().any(|queue| (queue.before.wrapping_sub(queue.socket.next()) as i32) > 0) {
            // A ring has more than a batch: what was gathered waits for another turn.
            return Ok(count.max(1));
        }
        let beneath = self.beneath.relay_gathered(tally, judge)?;
        Ok(count + beneath)
    }

    /// A batch of what the rings have.
    fn relay_rings(&mut self, tally: &mut Tally, judge: &mut impl Judge) -> io::Result<usize> {
        if self.polling && !self.queues.iter().any(|queue| queue.socket.is_waiting()) {
            for queue in &mut self.queues {
                let _ = queue.socket.wake_receive();
            }
        }
        if !self.retry && !self.queues.iter().any(|queue| queue.socket.is_waiting()) {
            return Ok(0);
        }
        let (now, realtime) = (clock::monotonic_ns(), clock::realtime_ns());
        self.ways.age(now);
        if self.offloads && now >= self.count_at {
            // What is lost tells that flows have to leave for the driver.
            self.count_at = now.saturating_add(COUNT_NS);
            self.count(tally);
        }
        let mut count = 0;
        for nth in 0..self.queues.len() {
            let place = (self.turn + nth) % self.queues.len();
            count += self.receive(place, BATCH - count, (now, realtime), tally, judge)?;
        }
        self.turn = (self.turn + 1) % self.queues.len();
        if count > 0 || self.retry {
            self.flush(now, tally);
            // What goes by the kernel instead follows what its flow sent before.
            self.beneath.send_queued(tally)?;
            if !self.sent.is_empty() {
                let sent_ns = clock::realtime_ns();
                self.sent.drain(..).for_each(|received_ns| tally.residence.record(received_ns, sent_ns));
            }
        }
        Ok(count)
    }
}
