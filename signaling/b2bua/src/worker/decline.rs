//! Answers that nobody waits for any more: their dialogs are acknowledged and ended at once (RFC 3261 13.2.2.4).

use std::collections::HashMap;

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, Flow};
use moorline_sip::{Dialog, Method};

use super::answer::T1_NS;
use super::{Arrival, ClientUse, Worker};
use crate::call::Phase;
use crate::forward;
use crate::identity::{COOKIE, of_branch, of_tag};
use crate::snapshot::CSEQ_JUMP;

/// Branches of a forked INVITE whose ACK is remembered; more are answered anew each time.
const MAX_DECLINED: usize = 8;

/// Stray answers that are remembered; beyond them each copy is ended anew, in the same words.
const MAX_STRAYS: usize = 4096;

/// How long a 2xx is repeated (RFC 3261 13.3.1.4).
const REPEATED_NS: u64 = 64 * T1_NS;

/// The branches of the BYEs to stray answers, and until when these are repeated.
#[derive(Default)]
pub(super) struct Strays(HashMap<String, u64>);

impl Strays {
    /// Takes note of one; false where it was known.
    fn is_new(&mut self, now: u64, bye: &str) -> bool {
        if self.0.get(bye).is_some_and(|until| now < *until) {
            return false;
        }
        if self.0.len() >= MAX_STRAYS {
            self.0.retain(|_, until| now < *until);
        }
        if self.0.len() < MAX_STRAYS {
            self.0.insert(bye.to_owned(), now + REPEATED_NS);
        }
        true
    }
}

impl Worker {
    /// Acknowledges and ends a dialog that an INVITE set up and nobody wants.
    pub(super) fn decline_answer(&mut self, arrival: Arrival<'_>, client: ClientId, id: SessionId, dialog: Dialog) {
        let Arrival { now, flow, .. } = arrival;
        let Some(call) = self.calls.get(&id) else { return };
        if let Some((_, ack)) = call.declined.iter().find(|(tag, _)| *tag == dialog.remote_tag) {
            let hop = self.next_hops.of(Some(&dialog), flow, self.is_endpoint(flow));
            return self.layer.send_ack(hop, ack.clone());
        }
        let tag = dialog.remote_tag.clone();
        let (hop, ack) = self.acknowledge_declined(arrival, id, &dialog);
        let branch = self.identities.branch(id);
        self.end_declined(now, hop, dialog, &branch, ClientUse::Bye(id));
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.declined.len() < MAX_DECLINED {
            call.declined.push((tag, ack));
        }
        if let Some(attempt) = call.take_attempt(client) {
            call.branches = attempt.early;
        }
        if call.phase == Phase::Cancelled && call.attempts.is_empty() {
            self.end(now, id);
        }
    }

    /// A 2xx to an INVITE of ours whose transaction is over, and perhaps its call: the target was given up after timer B,
    /// or signaling was restarted. Whoever has picked up must not be left in a call with nobody. Its copies get the same
    /// BYE, if any, even from the next process: in the dialog no number may come twice.
    pub(super) fn decline_stray(&mut self, arrival: Arrival<'_>) {
        let message = arrival.message;
        let invite = message.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
        let tag = message.from().ok().and_then(|from| of_tag(from.tag()?));
        let branch = message.via().ok().and_then(|via| of_branch(via.branch?));
        let (Some(tag), Some(branch)) = (tag.filter(|_| invite), branch) else { return };
        let node = self.identities.node();
        // Only to what this host has sent, and to who may speak to it.
        let known = self.policy.ingress(arrival.flow).is_some_and(|trunk| {
            // Where anybody may speak from, who has been sent something is registered: identifiers can be made up.
            let open = self.policy.trunks[trunk].authentication.is_some();
            !open || self.registrar.location.is_at(arrival.flow.remote.ip())
        });
        if !known || tag.node != node || branch.node != node || self.media.is_restoring() {
            return;
        }
        let target = forward::uri_at(arrival.flow.remote);
        let Ok(mut dialog) = Dialog::uac(message, target.as_bytes()) else { return };
        // What was asked in it while it was early is not remembered.
        dialog.local_cseq = dialog.local_cseq.saturating_add(CSEQ_JUMP);
        let (hop, _) = self.acknowledge_declined(arrival, tag, &dialog);
        let bye = format!("{COOKIE}{branch}-{:08x}-bye", forward::hash(&dialog.remote_tag));
        if self.strays.is_new(arrival.now, &bye) {
            self.end_declined(arrival.now, hop, dialog, &bye, ClientUse::Stray);
        }
    }

    /// Sends the ACK to the 2xx in hand; returns it, and where it went.
    fn acknowledge_declined(&mut self, arrival: Arrival<'_>, owner: SessionId, dialog: &Dialog) -> (Flow, Vec<u8>) {
        let cseq = arrival.message.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let hop = self.next_hops.of(Some(dialog), arrival.flow, self.is_endpoint(arrival.flow));
        let via = self.shown(hop).via(&self.identities.branch(owner));
        let ack = dialog.ack(cseq, via.as_bytes()).finish(b"");
        self.layer.send_ack(hop, ack.clone());
        (hop, ack)
    }

    fn end_declined(&mut self, now: u64, hop: Flow, mut dialog: Dialog, branch: &str, usage: ClientUse) {
        let via = self.shown(hop).via(branch);
        let bye = dialog.request(Method::Bye, via.as_bytes()).finish(b"");
        self.send(now, hop, bye, usage);
    }
}
