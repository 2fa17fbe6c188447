//! Transfers (RFC 3515): a party asks the other one to call somebody, and hears what becomes of it.

use moorline_sip::{Message, Name};

use super::message::{Draft, text};
use super::{Action, Due, Party, Phase, TIMEOUT};
use crate::sim::plan::MS;

/// The transfers of a party.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    /// They are carried at all.
    carried: bool,
    /// Its own, by the CSeq of the REFER: whose end it has not heard.
    open: Vec<u32>,
    told: Vec<u32>,
    /// Those of the other side whose end it has not told.
    owed: u32,
    /// What it told last: of which, and whether it was the end.
    last: (u32, bool),
    /// Those whose end it has told.
    ended: Vec<u32>,
}

impl Transfers {
    pub(super) fn new(carried: bool) -> Transfers {
        Transfers { carried, ..Transfers::default() }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.open.is_empty() && self.owed == 0
    }

    /// The call is over, and with it what was asked in it.
    pub(super) fn end(&mut self) {
        self.open.clear();
        self.owed = 0;
    }
}

impl Party {
    /// Asks the other party to call somebody else.
    pub(super) fn refer(&mut self, now: u64) {
        self.cseq += 1;
        let (branch, cseq) = (self.branch(), self.cseq);
        let headers = format!("Refer-To: <sip:{}9@{}>\r\n", self.number, self.moorline.ip());
        let draft = Draft { branch: &branch, cseq, headers: &headers, ..Draft::default() };
        self.transfers.open.push(cseq);
        self.ask(now, "REFER", &draft, Some(Action::Refer));
    }

    /// The answer to a REFER of this party's.
    pub(super) fn refer_answered(&mut self, now: u64, cseq: u32, status: u16) {
        match status {
            202 if self.transfers.carried => self.at(now + TIMEOUT, Due::Told(cseq)),
            200..300 => self.fault(format!("a REFER is answered {status}")),
            _ => {
                self.transfers.open.retain(|open| *open != cseq);
                if status == 403 && self.transfers.carried {
                    self.fault("a REFER is refused that the trunks carry");
                }
            }
        }
    }

    /// A REFER came.
    pub(super) fn referred(&mut self, now: u64, position: usize, message: Message<'_>) {
        let to = message.header(Name::ReferTo).map(text).unwrap_or_default();
        if !to.contains(&format!("@{}>", self.moorline)) {
            self.fault(format!("a REFER to {to}, which is not reached through Moorline"));
        }
        if !self.transfers.carried {
            self.fault("a REFER that the trunks do not carry");
        }
        let asked = self.servers[position].cseq;
        self.answer(now, position, 202);
        self.transfers.owed += 1;
        self.at(now, Due::Report { asked, last: false });
        let takes = self.random.between(0, 5_000) * MS;
        self.at(now + takes, Due::Report { asked, last: true });
    }

    /// Tells what has become of a transfer.
    pub(super) fn report(&mut self, now: u64, asked: u32, last: bool) {
        if self.phase != Phase::Up || (!last && self.transfers.ended.contains(&asked)) {
            return;
        }
        if self.clients.iter().any(|client| client.method == "NOTIFY" && !client.is_done()) {
            return self.at(now + 50 * MS, Due::Report { asked, last });
        }
        let (state, body) = match last {
            true => ("terminated;reason=noresource", "SIP/2.0 200 OK\r\n"),
            false => ("active;expires=60", "SIP/2.0 100 Trying\r\n"),
        };
        self.transfers.last = (asked, last);
        self.transfers.ended.extend(last.then_some(asked));
        self.cseq += 1;
        let (branch, cseq) = (self.branch(), self.cseq);
        let headers = format!("Event: refer;id={asked}\r\nSubscription-State: {state}\r\n");
        let content_type = "message/sipfrag;version=2.0";
        self.ask(now, "NOTIFY", &Draft { branch: &branch, cseq, headers: &headers, content_type, body }, None);
    }

    /// The answer to a NOTIFY of this party's.
    pub(super) fn reported(&mut self, now: u64, status: u16) {
        let (asked, last) = self.transfers.last;
        if status == 500 {
            // Another request has overtaken it.
            return self.at(now + 500 * MS, Due::Report { asked, last });
        }
        self.transfers.owed = self.transfers.owed.saturating_sub(u32::from(last));
    }

    /// A NOTIFY came.
    pub(super) fn notified(&mut self, now: u64, position: usize, message: Message<'_>) {
        self.answer(now, position, 200);
        let event = message.header(Name::Event).map(text).unwrap_or_default();
        let asked = event.strip_prefix("refer;id=").and_then(|id| id.parse::<u32>().ok());
        let known = |asked: &u32| self.transfers.open.contains(asked) || self.transfers.told.contains(asked);
        let Some(asked) = asked.filter(known) else {
            return self.fault(format!("a NOTIFY of {event:?}, which it has not asked for"));
        };
        let state = message.header(Name::SubscriptionState).map(text).unwrap_or_default();
        if state.starts_with("terminated") {
            self.transfers.open.retain(|open| *open != asked);
            self.transfers.told.push(asked);
        }
    }

    /// The end of a transfer should have been told by now.
    pub(super) fn told(&mut self, asked: u32) {
        if self.phase == Phase::Up && self.transfers.open.contains(&asked) {
            self.record.unheard.push(format!("what became of the REFER {asked}"));
        }
    }
}
