//! Dialogs of other workers: a Replaces in a REFER may name one, and what it is called on its other side is known there
//! alone. That worker is asked, and the REFER waits.

use std::collections::HashMap;

use moorline_control::SessionId;
use moorline_sip::transaction::{Flow, ServerId};
use moorline_sip::{NameAddr, OwnedMessage, Replaces, Uri};

use super::setup::Refused;
use super::{Arrival, Due, Worker};
use crate::Output;
use crate::identity::of_tag;
use crate::leg::Side;
use crate::news::{News, Told};
use crate::transfer::{ReplacedDialog, Replacement};

/// How long another worker is waited for, and how many REFERs wait at once.
const PATIENCE_NS: u64 = 1_000_000_000;
const MAX_ASKED: usize = 1024;

/// REFERs that wait for another worker.
#[derive(Default)]
pub(super) struct Elsewhere {
    asked: HashMap<u64, Asked>,
    last: u64,
}

struct Asked {
    server: ServerId,
    flow: Flow,
    message: OwnedMessage,
    call: SessionId,
    side: Side,
    until: u64,
}

/// Whose the dialog is that a Refer-To wants replaced.
pub(super) enum Owner {
    /// No worker's, or this one's, which knows it.
    Settled,
    /// This one's; but there is no such dialog any more.
    Gone,
    /// Another one's.
    Other(ReplacedDialog),
}

impl Worker {
    /// Whose the dialog is that a Refer-To wants replaced.
    pub(super) fn owner_of(&self, target: &NameAddr<'_>) -> Owner {
        let value = Uri::parse(target.uri).ok().and_then(|uri| uri.header(b"Replaces"));
        let Some(Ok(replaces)) = value.as_deref().map(Replaces::parse) else { return Owner::Settled };
        let node = self.identities.node();
        let mut tags = [replaces.to_tag, replaces.from_tag].into_iter().filter_map(of_tag);
        let Some(ours) = tags.find(|tag| tag.node == node) else { return Owner::Settled };
        if self.other_end(&replaces).is_some() {
            return Owner::Settled;
        }
        match self.place.owns(ours) {
            true => Owner::Gone,
            false => Owner::Other(ReplacedDialog::from(&replaces)),
        }
    }

    /// Asks the other workers; the REFER goes on when the owner has answered.
    pub(super) fn ask_owner(
        &mut self,
        arrival: Arrival<'_>,
        server: ServerId,
        (call, side): (SessionId, Side),
        dialog: ReplacedDialog,
    ) {
        if self.elsewhere.asked.len() >= MAX_ASKED {
            return self.refuse(arrival, server, 503, b"Service Unavailable");
        }
        self.elsewhere.last += 1;
        let (number, until) = (self.elsewhere.last, arrival.now + PATIENCE_NS);
        let message = arrival.message.to_owned();
        let asked = Asked { server, flow: arrival.flow, message, call, side, until };
        self.elsewhere.asked.insert(number, asked);
        self.timers.set(until, Due::Elsewhere(number));
        self.outputs.push_back(Output::Tell(News(Told::Whose { from: self.place.index, number, dialog })));
    }

    /// Another worker asks for the other end of a dialog: whoever owns it answers.
    pub(super) fn tell_other_end(&mut self, to: usize, number: u64, dialog: &ReplacedDialog) {
        let replaces = dialog.replaces();
        let tags = [replaces.to_tag, replaces.from_tag].into_iter().filter_map(of_tag);
        let node = self.identities.node();
        if tags.filter(|tag| tag.node == node).any(|tag| self.place.owns(tag)) {
            let end = self.far_end(&replaces).map(Box::new);
            self.outputs.push_back(Output::Tell(News(Told::OtherEnd { to, number, end })));
        }
    }

    /// The owner of a dialog has answered, or nobody has.
    pub(super) fn owner_answered(&mut self, now: u64, number: u64, end: Option<Replacement>) {
        let Some(asked) = self.elsewhere.asked.remove(&number) else { return };
        let Asked { server, flow, message, call, side, until } = asked;
        self.timers.cancel(until, Due::Elsewhere(number));
        let arrival = Arrival { now, flow, message: message.view(), user: None };
        match end {
            // The call may have ended meanwhile: nothing new is asked in it.
            Some(end) if self.calls.get(&call).is_some_and(|call| call.is_live()) => {
                self.refer_to_end(arrival, server, (call, side), Some(end))
            }
            _ => self.refuse_gone(arrival, server),
        }
    }

    /// The dialog that is to be replaced is not there.
    pub(super) fn refuse_gone(&mut self, arrival: Arrival<'_>, server: ServerId) {
        let refused = Refused::because(603, "No Such Dialog");
        self.refuse(arrival, server, refused.status, &refused.reason);
    }
}
