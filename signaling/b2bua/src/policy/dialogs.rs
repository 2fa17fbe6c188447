//! What a trunk's dialogs may do beyond RFC 3261.

/// The extensions of a trunk's dialogs; the default serves peers that know of none of them too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dialogs {
    /// Provisional answers that are acknowledged by PRACK (RFC 3262).
    pub reliable_provisional: ReliableProvisional,
}

/// Whether provisional answers are sent reliably (RFC 3262), in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReliableProvisional {
    /// Never: a peer that requires it is refused.
    Off,
    /// Where the peer supports it.
    #[default]
    Supported,
    /// Always: a peer that does not support it is refused.
    Required,
}
