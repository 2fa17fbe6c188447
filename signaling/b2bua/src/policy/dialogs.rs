//! What a trunk's dialogs may do beyond RFC 3261.

/// The extensions of a trunk's dialogs; the default serves peers that know of none of them too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialogs {
    /// Provisional answers that are acknowledged by PRACK (RFC 3262).
    pub reliable_provisional: ReliableProvisional,
    /// Session timers (RFC 4028); `None` is neither offered nor taken.
    pub session_timers: Option<SessionTimers>,
    /// Fax streams (T.38 over UDPTL) are carried; refused with 488 else.
    pub fax: bool,
    /// Video streams are carried; refused by port 0 else, beside audio that is carried.
    pub video: bool,
    /// STUN on media ports crosses, where the other trunk lets it too.
    pub stun: bool,
    /// What becomes of a REFER.
    pub refer: Refer,
    /// Methods that Moorline does not know cross inside dialogs; else they are refused with 501.
    pub unknown_methods: bool,
}

impl Default for Dialogs {
    fn default() -> Dialogs {
        Dialogs {
            reliable_provisional: ReliableProvisional::default(),
            session_timers: Some(SessionTimers::default()),
            fax: true,
            video: true,
            stun: false,
            refer: Refer::default(),
            unknown_methods: true,
        }
    }
}

/// What becomes of a REFER (RFC 3515), by which a party asks the other one to call somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refer {
    /// It crosses to the other party, which calls anew.
    #[default]
    Pass,
    /// Moorline carries it out: it makes the new call, and joins that with the party that is transferred.
    Handle,
    /// It is refused with 403.
    Refuse,
}

/// How sessions are kept alive (RFC 4028): they end when nobody refreshes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimers {
    /// The interval within which a refresh must come, in seconds; shorter where a peer asks for that.
    pub refresh_s: u32,
    /// The shortest interval that a peer may ask for, in seconds.
    pub min_s: u32,
}

impl Default for SessionTimers {
    fn default() -> SessionTimers {
        SessionTimers { refresh_s: 1800, min_s: 90 }
    }
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
