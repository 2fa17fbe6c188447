//! Answers that nobody waits for any more: their dialogs are acknowledged and ended at once (RFC 3261 13.2.2.4).

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, Flow};
use moorline_sip::{Dialog, Method};

use super::{Arrival, ClientUse, Worker};
use crate::call::Phase;
use crate::identity::{of_branch, of_tag};
use crate::snapshot::CSEQ_JUMP;

/// Branches of a forked INVITE whose ACK is remembered; more are answered anew each time.
const MAX_DECLINED: usize = 8;

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
        let ack = self.acknowledge_and_end(arrival, id, dialog);
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
    /// or signaling was restarted. Whoever has picked up must not be left in a call with nobody.
    pub(super) fn decline_stray(&mut self, arrival: Arrival<'_>) {
        let message = arrival.message;
        let invite = message.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
        let tag = message.from().ok().and_then(|from| of_tag(from.tag()?));
        let branch = message.via().ok().and_then(|via| of_branch(via.branch?));
        let (Some(tag), Some(branch)) = (tag.filter(|_| invite), branch) else { return };
        let node = self.identities.node();
        // Only to what this host has sent, and to who may speak to it.
        let known = self.policy.ingress(arrival.flow.listener, arrival.flow.remote).is_some();
        if !known || tag.node != node || branch.node != node || self.media.is_restoring() {
            return;
        }
        let target = format!("sip:{}", arrival.flow.remote);
        if let Ok(mut dialog) = Dialog::uac(message, target.as_bytes()) {
            // What was asked in it while it was early is not remembered.
            dialog.local_cseq = dialog.local_cseq.saturating_add(CSEQ_JUMP);
            self.acknowledge_and_end(arrival, tag, dialog);
        }
    }

    /// Sends ACK and BYE in a dialog; returns the ACK.
    fn acknowledge_and_end(&mut self, arrival: Arrival<'_>, owner: SessionId, mut dialog: Dialog) -> Vec<u8> {
        let Arrival { now, flow, message, .. } = arrival;
        let cseq = message.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let hop: Flow = self.next_hops.of(Some(&dialog), flow, self.is_endpoint(flow));
        let shown = self.shown(hop);
        let mut via = || shown.via(&self.identities.branch(owner)).into_bytes();
        let (ack_via, bye_via) = (via(), via());
        let ack = dialog.ack(cseq, &ack_via).finish(b"");
        self.layer.send_ack(hop, ack.clone());
        let bye = dialog.request(Method::Bye, &bye_via).finish(b"");
        self.send(now, hop, bye, ClientUse::Bye(owner));
        ack
    }
}
