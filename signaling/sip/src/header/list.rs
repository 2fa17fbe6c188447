//! Lists of tokens: option tags, methods.

use crate::{Message, Method, Name};

impl Message<'_> {
    /// Whether a list holds a token, in any case: an option tag in Supported, Require, Proxy-Require or Unsupported, a
    /// package in Allow-Events.
    pub fn lists(&self, name: Name, token: &str) -> bool {
        self.values(name).any(|value| value.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether Allow names a method; `None` if there is no Allow, which says nothing (RFC 3261 section 20.5).
    pub fn allows(&self, method: Method<'_>) -> Option<bool> {
        self.header(Name::Allow)?;
        Some(self.values(Name::Allow).any(|value| Method::new(value) == method))
    }
}
