//! Who may know who calls (RFC 3323, RFC 3325).

use moorline_sip::Message;

use super::{Party, Role};

/// What a called party may know of who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Identity {
    /// The name, but not what a trusted network asserts.
    Named,
    /// Both, though the caller wants neither known further on.
    Asserted {
        private: bool,
    },
    Withheld,
}

impl Party {
    /// Who calls is shown to whom it may be.
    pub(in crate::sim) fn check_identity(&mut self, message: Message<'_>) {
        let text = String::from_utf8_lossy(message.bytes());
        let first = text.starts_with("INVITE ") && self.dialog.is_none();
        let named = text.contains(&format!("caller-{}", self.call));
        let asserted = text.contains(&format!("asserted-{}", self.call));
        let wrong = match self.identity {
            _ if self.role == Role::Caller => None,
            Identity::Named if asserted => Some("is told what a trusted network asserts"),
            Identity::Withheld if named || asserted => Some("is told who calls"),
            Identity::Asserted { .. } if first && !asserted => Some("is not told what a trusted network asserts"),
            Identity::Asserted { private: true } if first && !text.contains("Privacy: id") => {
                Some("is not told to keep it")
            }
            Identity::Named | Identity::Asserted { .. } if first && !named => Some("is not told who calls"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.fault(wrong);
        }
    }
}
