//! Session timers (RFC 4028): who refreshes the session, and what becomes of one that nobody does.

use moorline_sip::{Message, Name};

use super::message::{Draft, text};
use super::{Action, Due, Party, Phase};
use crate::sim::plan::{MS, SECOND};

/// A session that ends unless it is refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timer {
    interval: u64,
    /// This party refreshes it.
    mine: bool,
    /// Counts the refreshes: what is due for an earlier one is over.
    pub(super) round: u32,
}

impl Party {
    /// The headers of a request that sets up or refreshes a session.
    pub(super) fn timer_request(&self) -> String {
        let Some(own) = self.script.knows.timer else { return String::new() };
        match self.timer {
            None if self.phase == Phase::Up => String::new(),
            None => format!("Session-Expires: {}\r\n", own / SECOND),
            Some(Timer { interval, mine, .. }) => {
                let refresher = if mine { "uac" } else { "uas" };
                format!("Session-Expires: {};refresher={refresher}\r\n", interval / SECOND)
            }
        }
    }

    /// What a 2xx to such a request of the other side says; from then on it holds.
    pub(super) fn timer_answer(&mut self, now: u64, request: Message<'_>) -> Vec<(&'static str, String)> {
        let Some(own) = self.script.knows.timer else { return Vec::new() };
        let Some((asked, refresher)) = session_expires(request) else {
            self.timer = None;
            return Vec::new();
        };
        let shortest = request.header(Name::MinSe).map(text).and_then(|min| min.parse().ok()).unwrap_or(90);
        let interval = if self.timer.is_some() { asked } else { asked.min(own).max(shortest * SECOND) };
        let theirs = supports_timer(request);
        let mine = match refresher.as_deref() {
            Some(refresher) => refresher == "uas",
            None => !theirs || self.random.chance(50),
        };
        self.run_timer(now, interval, mine);
        let refresher = if mine { "uas" } else { "uac" };
        let mut headers = vec![("Session-Expires", format!("{};refresher={refresher}", interval / SECOND))];
        if theirs {
            headers.push(("Require", "timer".to_owned()));
        }
        headers
    }

    /// What the other side's 2xx to such a request of this party says.
    pub(super) fn timer_answered(&mut self, now: u64, answer: Message<'_>) {
        if self.script.knows.timer.is_none() {
            return;
        }
        match session_expires(answer) {
            None => self.timer = None,
            Some((interval, Some(refresher))) => self.run_timer(now, interval, refresher == "uac"),
            Some((_, None)) => self.fault("a 2xx with a Session-Expires that does not say who refreshes"),
        }
    }

    fn run_timer(&mut self, now: u64, interval: u64, mine: bool) {
        if interval < 90 * SECOND {
            self.fault(format!("a session of {} s (RFC 4028 4)", interval / SECOND));
        }
        self.rounds += 1;
        let round = self.rounds;
        self.timer = Some(Timer { interval, mine, round });
        // RFC 4028 10: at half time, or a little before the end.
        let at = if mine { interval / 2 } else { interval - (interval / 3).min(32 * SECOND) };
        self.at(now + at, Due::SessionTimer(round));
    }

    /// Half of the session's time, or nearly all of it, is over.
    pub(super) fn session_timer(&mut self, now: u64, round: u32) {
        let Some(timer) = self.timer.filter(|timer| timer.round == round && self.phase == Phase::Up) else { return };
        if timer.mine {
            self.refresh(now);
        } else {
            self.fault("the session was not refreshed");
            self.take_action(now, Action::Bye);
        }
    }

    /// Refreshes the session, with an UPDATE that offers nothing or with a re-INVITE.
    pub(super) fn refresh(&mut self, now: u64) {
        if self.invite_under_way() || self.updating() {
            return self.at(now + 300 * MS, Due::Again(Action::Refresh));
        }
        self.session_before = Some(self.session.clone());
        self.cseq += 1;
        let (branch, cseq) = (self.branch(), self.cseq);
        if self.script.knows.update {
            let headers = format!("Supported: timer\r\n{}", self.timer_request());
            let draft = Draft { branch: &branch, cseq, headers: &headers, content_type: "", body: "" };
            self.ask(now, "UPDATE", &draft, Some(Action::Refresh));
        } else {
            let body = self.session.offer();
            self.invite(now, &branch, &body, Some(Action::Refresh));
        }
    }
}

/// Whether the sender knows session timers.
fn supports_timer(message: Message<'_>) -> bool {
    let lists = |name| message.values(name).any(|tag| tag.eq_ignore_ascii_case(b"timer"));
    lists(Name::Supported) || lists(Name::Require)
}

/// The interval of a Session-Expires, and who refreshes.
fn session_expires(message: Message<'_>) -> Option<(u64, Option<String>)> {
    let value = message.header(Name::SessionExpires).map(text)?;
    let mut parts = value.split(';').map(str::trim);
    let interval: u64 = parts.next()?.parse().ok()?;
    let refresher = parts.find_map(|part| part.strip_prefix("refresher=")).map(str::to_owned);
    Some((interval * SECOND, refresher))
}
