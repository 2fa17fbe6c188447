//! What parties hear of each other, and whether a call is settled.

use std::net::SocketAddr;

use super::World;
use crate::sim::party::Party;
use crate::sim::plan::SECOND;

/// A call in which nothing has happened for this long is said to be settled.
const SETTLING: u64 = 2 * SECOND;

impl World {
    /// A packet of media: in a settled call it must come out on the other side.
    pub(super) fn send_media(&mut self, position: usize, to: SocketAddr) {
        // Version 2, payload type 8; what else it holds is nobody's business here.
        const RTP: [u8; 20] = [0x80, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let (from, call) = (self.parties[position].media_address(), self.parties[position].call);
        let settled = self.is_settled(call) && !self.disturbed[call] && self.media.is_at_hand(self.now);
        let heard = self.media.packet(self.now, from, to, &RTP);
        let receiver =
            heard.as_ref().ok().and_then(|(_, to)| self.parties.iter().position(|party| party.media_address() == *to));
        match (heard, receiver) {
            (Ok((local, to)), Some(receiver)) => {
                let party = &mut self.parties[receiver];
                party.record.media_heard += 1;
                if party.call != call {
                    let name = party.name.clone();
                    self.fault(format!("media of call {call} comes out at {name} ({to})"));
                } else if settled && party.media_target().is_some_and(|target| target != local) {
                    let name = party.name.clone();
                    self.fault(format!("media comes to {name} from {local}, which is not where it sends"));
                }
            }
            (Err(_), _) if !self.is_heard(call, position) => {}
            (heard, _) if settled => {
                let name = self.parties[position].name.clone();
                self.fault(format!("media of {name} to {to} does not come out: {heard:?}"));
            }
            _ => {}
        }
    }

    /// Whether somebody listens to a party.
    pub(super) fn is_heard(&self, call: usize, position: usize) -> bool {
        let mut others =
            self.parties.iter().enumerate().filter(|(other, party)| *other != position && party.call == call);
        others.any(|(_, party)| party.is_settled() && party.listens())
    }

    /// Both parties of the call are in it, and nothing is under way.
    pub(super) fn is_settled(&self, call: usize) -> bool {
        let quiet = |party: &Party| {
            party.is_settled()
                && !party.has_vanished(self.now)
                && self.now >= party.stirred_at + SETTLING
                && self.network.is_quiet(party.address)
        };
        let parties = self.parties.iter().filter(|party| party.call == call && !party.is_over());
        let (count, settled) = parties.fold((0, true), |(count, all), party| (count + 1, all && quiet(party)));
        count == 2 && settled && self.faulted_at.is_none_or(|at| self.now >= at + SETTLING + 2 * SECOND)
    }

    /// All parties of the call are through with it, and nobody waits for anything.
    pub(super) fn is_gone(&self, call: usize) -> bool {
        let mut parties = self.parties.iter().filter(|party| party.call == call);
        parties.all(|party| {
            party.is_over() && self.network.is_quiet(party.address) && self.now >= party.stirred_at + 40 * SECOND
        })
    }
}
