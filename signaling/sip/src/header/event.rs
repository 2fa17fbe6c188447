//! Subscriptions (RFC 6665 section 8.4).

use super::Params;
use crate::lexical::{is_token, seconds, split_at, trim};
use crate::{Fault, Message, Name};

/// Event: what is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The package with its templates, as it was written: `refer`, `presence.winfo`. Case matters.
    pub package: &'a [u8],
    /// Tells subscriptions of a dialog apart.
    pub id: Option<&'a [u8]>,
}

/// Subscription-State: what became of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionState<'a> {
    /// `active`, `pending`, `terminated` or another.
    pub state: &'a [u8],
    /// Why it ended.
    pub reason: Option<&'a [u8]>,
    /// How many seconds are left.
    pub expires: Option<u32>,
    /// After how many seconds to try again.
    pub retry_after: Option<u32>,
}

impl SubscriptionState<'_> {
    /// Whether the subscription has ended.
    pub fn is_terminated(&self) -> bool {
        self.state.eq_ignore_ascii_case(b"terminated")
    }
}

/// A token and the parameters after it.
fn token_and_params(value: &[u8]) -> Option<(&[u8], Params<'_>)> {
    let (token, _) = split_at(value, b';');
    let params = Params::new(&value[token.len()..]);
    let token = trim(token);
    is_token(token).then_some((token, params))
}

impl<'a> Message<'a> {
    /// Event; `None` if it is absent.
    pub fn event(&self) -> Result<Option<Event<'a>>, Fault> {
        let read = |value| {
            let (package, params) = token_and_params(value).ok_or(Fault::Malformed(Name::Event))?;
            Ok(Event { package, id: params.find(b"id").flatten() })
        };
        self.header(Name::Event).map(read).transpose()
    }

    /// Subscription-State; `None` if it is absent.
    pub fn subscription_state(&self) -> Result<Option<SubscriptionState<'a>>, Fault> {
        let read = |value| {
            let (state, params) = token_and_params(value).ok_or(Fault::Malformed(Name::SubscriptionState))?;
            let find = |name| params.clone().find(name).flatten();
            Ok(SubscriptionState {
                state,
                reason: find(b"reason"),
                expires: find(b"expires").and_then(seconds),
                retry_after: find(b"retry-after").and_then(seconds),
            })
        };
        self.header(Name::SubscriptionState).map(read).transpose()
    }
}
