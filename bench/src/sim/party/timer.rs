//! Session timers (RFC 4028): who refreshes the session, and what becomes of one that nobody does.

use moorline_sip::{Message, Name};

use super::message::{Draft, text};
use super::{Action, Due, Party, Phase};
use crate::sim::plan::{MS, SECOND};

/// No session is shorter (RFC 4028 4).
const SHORTEST: u64 = 90 * SECOND;

/// A session that ends unless it is refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timer {
    interval: u64,
    /// This party refreshes it.
    mine: bool,
    /// Counts the refreshes: what is due for an earlier one is over.
    pub(super) round: u32,
    /// When it was refreshed, at the earliest that the other side may count from.
    since: u64,
}

impl Party {
    /// The headers of a request that sets up or refreshes a session.
    pub(super) fn timer_request(&self) -> String {
        let Some(own) = self.script.knows.timer else { return String::new() };
        let shortest = self.shortest().max(self.floor);
        let min = if shortest > SHORTEST { format!("Min-SE: {}\r\n", shortest / SECOND) } else { String::new() };
        match self.timer {
            None if self.phase == Phase::Up => String::new(),
            None => format!("Session-Expires: {}\r\n{min}", own.max(shortest) / SECOND),
            Some(Timer { interval, mine, .. }) => {
                let refresher = if mine { "uac" } else { "uas" };
                format!("Session-Expires: {};refresher={refresher}\r\n{min}", interval.max(shortest) / SECOND)
            }
        }
    }

    /// The shortest session that this party takes.
    fn shortest(&self) -> u64 {
        self.script.knows.shortest
    }

    /// A 422 came: true where the next request can ask for a session that is long enough.
    pub(super) fn takes_longer(&mut self, refusal: Message<'_>) -> bool {
        let Some(min) = seconds(refusal, Name::MinSe) else {
            self.fault("a 422 without a Min-SE");
            return false;
        };
        let longer = min > self.floor;
        if !longer {
            self.fault("a 422 to a session as long as was asked for");
        }
        self.floor = min;
        longer
    }

    /// True for a request whose session is too short for this party (RFC 4028 9).
    pub(super) fn is_too_short(&self, request: Message<'_>) -> bool {
        let asked = session_expires(request).filter(|_| self.script.knows.timer.is_some() && supports_timer(request));
        asked.is_some_and(|(interval, _)| interval < self.shortest())
    }

    /// Says how long a session must be at least.
    pub(super) fn ask_for_longer(&mut self, now: u64, position: usize) {
        if std::mem::replace(&mut self.told_shortest, true) {
            self.fault("asked for a session that is too short again");
        }
        let headers = [("Min-SE", (self.shortest() / SECOND).to_string())];
        self.say_with(now, position, 422, String::new(), &headers);
    }

    /// What a 2xx to such a request of the other side says; from then on it holds.
    pub(super) fn timer_answer(&mut self, now: u64, request: Message<'_>) -> Vec<(&'static str, String)> {
        let Some(own) = self.script.knows.timer else { return Vec::new() };
        let Some((asked, refresher)) = session_expires(request) else {
            self.timer = None;
            return Vec::new();
        };
        let shortest = seconds(request, Name::MinSe).unwrap_or(SHORTEST).max(self.shortest());
        let interval = if self.timer.is_some() { asked } else { asked.min(own.max(shortest)) };
        let theirs = supports_timer(request);
        let mine = match refresher.as_deref() {
            Some(refresher) => refresher == "uas",
            None => !theirs || self.random.chance(50),
        };
        self.run_timer(now, now, interval, mine);
        let refresher = if mine { "uas" } else { "uac" };
        let mut headers = vec![("Session-Expires", format!("{};refresher={refresher}", interval / SECOND))];
        if theirs {
            headers.push(("Require", "timer".to_owned()));
        }
        headers
    }

    /// What the other side's 2xx to such a request of this party says.
    pub(super) fn timer_answered(&mut self, now: u64, asked_at: u64, answer: Message<'_>) {
        if self.script.knows.timer.is_none() {
            return;
        }
        match session_expires(answer) {
            None => self.timer = None,
            Some((interval, Some(refresher))) => self.run_timer(now, asked_at, interval, refresher == "uac"),
            Some((_, None)) => self.fault("a 2xx with a Session-Expires that does not say who refreshes"),
        }
    }

    fn run_timer(&mut self, now: u64, since: u64, interval: u64, mine: bool) {
        if interval < 90 * SECOND {
            self.fault(format!("a session of {} s (RFC 4028 4)", interval / SECOND));
        }
        self.rounds += 1;
        let round = self.rounds;
        self.timer = Some(Timer { interval, mine, round, since });
        // RFC 4028 10: at half time, or a little before the end.
        let at = if mine { interval / 2 } else { interval - (interval / 3).min(32 * SECOND) };
        self.at(now + at, Due::SessionTimer(round));
    }

    /// Half of the session's time, or nearly all of it, is over.
    pub(super) fn session_timer(&mut self, now: u64, round: u32) {
        let Some(timer) = self.timer.filter(|timer| timer.round == round && self.phase == Phase::Up) else { return };
        if timer.mine {
            return self.refresh(now);
        }
        self.record.lapsed |= self.has_lapsed(now);
        if !self.record.lapsed {
            self.fault("the session was not refreshed");
        }
        self.take_action(now, Action::Bye);
    }

    /// True where nobody has refreshed the session in time since a refresh was refused, by either side.
    pub(super) fn has_lapsed(&self, now: u64) -> bool {
        self.timer.is_some_and(|timer| {
            let end = timer.since + timer.interval - (timer.interval / 3).min(32 * SECOND);
            now >= end && self.record.unrefreshed_at.is_some_and(|at| at >= timer.since)
        })
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

/// A header that is a number of seconds.
fn seconds(message: Message<'_>, name: Name) -> Option<u64> {
    let seconds: u64 = message.header(name).map(text)?.parse().ok()?;
    Some(seconds * SECOND)
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
