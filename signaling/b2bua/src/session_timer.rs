//! How long a session lasts without a refresh, and who refreshes it (RFC 4028): agreed on each leg for itself.

use moorline_sip::{Message, Refresher, SessionExpires};

use crate::extension::{self, TIMER};
use crate::policy::SessionTimers;

const SECOND_NS: u64 = 1_000_000_000;

/// The shortest interval that any peer must take (RFC 4028 4).
const SHORTEST_S: u32 = 90;

/// The session timer of one leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionTimer {
    pub(crate) interval_s: u32,
    /// It is refreshed by us.
    pub(crate) ours: bool,
    /// When the call ends if it was not refreshed.
    pub(crate) expires_at: u64,
    /// When something is due: our refresh, or the end.
    pub(crate) due_at: u64,
}

impl SessionTimer {
    /// A timer that starts now. It ends a little early, so that the BYE is not taken for one that came too late (RFC
    /// 4028 10); ours is refreshed at half time.
    pub(crate) fn new(now: u64, interval_s: u32, ours: bool) -> SessionTimer {
        let interval = u64::from(interval_s);
        let expires_at = now.saturating_add((interval - (interval / 3).min(32)) * SECOND_NS);
        let due_at = if ours { now.saturating_add(interval * SECOND_NS / 2).min(expires_at) } else { expires_at };
        SessionTimer { interval_s, ours, expires_at, due_at }
    }

    /// The timer of a restored call. The process was away, and so may have been the refresh: there is time for it to be
    /// sent again.
    pub(crate) fn restored(now: u64, interval_s: u32, ours: bool, expires_at: u64) -> SessionTimer {
        let whole = SessionTimer::new(now, interval_s, ours);
        let expires_at =
            expires_at.clamp(now.saturating_add(32 * SECOND_NS), whole.expires_at.max(32 * SECOND_NS + now));
        let spent = whole.expires_at.saturating_sub(expires_at);
        let due_at = if ours { whole.due_at.saturating_sub(spent).max(now) } else { expires_at };
        SessionTimer { interval_s, ours, expires_at, due_at }
    }

    /// Session-Expires for a request of ours on this leg.
    fn value(self, shortest_s: u32) -> String {
        let refresher = Some(if self.ours { Refresher::Uac } else { Refresher::Uas });
        SessionExpires { seconds: self.interval_s.max(shortest_s), refresher }.to_string()
    }
}

/// What is agreed with who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    interval_s: u32,
    refresher: Refresher,
}

impl Agreed {
    /// Reads what a request asks for (RFC 4028 9). `None` where there is to be no timer.
    ///
    /// # Errors
    /// The Min-SE for the 422, where it asks for an interval that is too short.
    pub(crate) fn of_request(policy: Option<SessionTimers>, request: Message<'_>) -> Result<Option<Agreed>, u32> {
        let Some(policy) = policy else { return Ok(None) };
        let supported = extension::supports(request, TIMER);
        let shortest = request.min_se().ok().flatten().unwrap_or(0);
        let longest = policy.refresh_s.max(shortest).max(policy.min_s);
        let asked = request.session_expires().ok().flatten();
        Ok(match asked {
            Some(asked) if asked.seconds < policy.min_s && supported => return Err(policy.min_s),
            // A proxy has put in what the peer knows nothing of, and too short.
            Some(asked) if asked.seconds < policy.min_s => None,
            Some(asked) => {
                let refresher = match asked.refresher {
                    _ if !supported => Refresher::Uas,
                    Some(refresher) => refresher,
                    None => Refresher::Uac,
                };
                Some(Agreed { interval_s: asked.seconds.min(longest), refresher })
            }
            None if supported => Some(Agreed { interval_s: longest, refresher: Refresher::Uas }),
            None => None,
        })
    }

    /// The headers of the 2xx.
    pub(crate) fn headers(self) -> Vec<(&'static str, String)> {
        let expires = SessionExpires { seconds: self.interval_s, refresher: Some(self.refresher) };
        let mut headers = vec![("Session-Expires", expires.to_string())];
        if self.refresher == Refresher::Uac {
            headers.push(("Require", TIMER.into()));
        }
        headers
    }

    /// The timer that starts with the 2xx.
    pub(crate) fn timer(self, now: u64) -> SessionTimer {
        SessionTimer::new(now, self.interval_s, self.refresher == Refresher::Uas)
    }
}

/// The timer that a peer's 2xx to a request of ours starts (RFC 4028 7.2); `None` where it has none.
pub(crate) fn of_response(now: u64, policy: Option<SessionTimers>, response: Message<'_>) -> Option<SessionTimer> {
    policy?;
    let agreed = response.session_expires().ok().flatten()?;
    // Shorter than anybody may ask for: the timer would be a flood of refreshes.
    let interval_s = agreed.seconds.max(SHORTEST_S);
    Some(SessionTimer::new(now, interval_s, agreed.refresher != Some(Refresher::Uas)))
}

/// The headers of a request of ours inside a dialog, so that it refreshes the session too.
pub(crate) fn refresh_headers(timer: Option<SessionTimer>, shortest_s: u32) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    if let Some(timer) = timer {
        headers.push(("Session-Expires", timer.value(shortest_s)));
    }
    headers.extend(min_se(shortest_s));
    headers
}

/// The headers of a first INVITE of ours.
pub(crate) fn invite_headers(policy: Option<SessionTimers>, shortest_s: u32) -> Vec<(&'static str, String)> {
    let Some(policy) = policy else { return Vec::new() };
    let interval_s = policy.refresh_s.max(policy.min_s).max(shortest_s);
    let mut headers = vec![("Session-Expires", interval_s.to_string())];
    headers.extend(min_se(policy.min_s.max(shortest_s)));
    headers
}

fn min_se(shortest_s: u32) -> Option<(&'static str, String)> {
    (shortest_s > SHORTEST_S).then(|| ("Min-SE", shortest_s.to_string()))
}

/// The interval that a 422 asks for at least.
pub(crate) fn too_short(response: Message<'_>) -> Option<u32> {
    if response.status() == Some(422) { response.min_se().ok().flatten() } else { None }
}

#[cfg(test)]
mod tests;
