//! What is to happen in a run: drawn from the seed before it begins, plain data.

mod draw;

use moorline_b2bua::policy::{Limits, Redirects, Refer, ReliableProvisional, SessionTimers};

pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000 * MS;

/// A whole run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) network: Conditions,
    pub(super) calls: Vec<CallPlan>,
    /// When a stream ends.
    pub(super) breaks: Vec<u64>,
    /// What befalls Moorline's processes, by time.
    pub(super) faults: Vec<(u64, Fault)>,
    pub(super) limits: Limits,
    /// The sessions that the media process takes.
    pub(super) capacity: usize,
    /// The trunks, by listener.
    pub(super) sides: [Side; 2],
    /// The longest time that the media process takes for an answer.
    pub(super) media_delay: u64,
}

/// What a trunk is like.
#[derive(Debug, Clone)]
pub(super) struct Side {
    pub(super) reliable: ReliableProvisional,
    pub(super) timers: Option<SessionTimers>,
    pub(super) redirects: Redirects,
    pub(super) refer: Refer,
    /// It may know who calls, whatever the caller wants.
    pub(super) trusted: bool,
    /// How long a target may be silent before the next is tried; 0 for as long as its transaction lasts.
    pub(super) failover: u64,
    /// Its parties ask Moorline for credentials.
    pub(super) asks: Option<Asks>,
}

/// How the parties of a trunk ask for credentials.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asks {
    /// 401 or 407.
    pub(super) status: u16,
    /// Of every request, not only of the first INVITE.
    pub(super) always: bool,
    /// How long a challenge can be answered.
    pub(super) lifetime: u64,
}

/// What the network does to datagrams.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    /// As over TCP: nothing is lost, doubled or overtaken, and nobody repeats anything.
    pub(super) reliable: bool,
    /// Over TCP it is, on streams that may end.
    pub(super) streams: bool,
    /// In percent.
    pub(super) loss: u64,
    /// In percent.
    pub(super) duplication: u64,
    pub(super) delay: u64,
    /// Up to how much longer a datagram may take: what comes later may overtake it.
    pub(super) jitter: u64,
}

/// What befalls Moorline's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Signaling is killed, and starts anew after this long.
    SignalingRestart { down: u64 },
    /// The media process is killed, and starts anew after this long.
    MediaRestart { down: u64 },
    /// The control connection breaks, and is made again after this long.
    ConnectionLost { down: u64 },
    /// The media process has no room for requests for this long.
    MediaBusy { during: u64 },
}

/// One call.
#[derive(Debug, Clone)]
pub(super) struct CallPlan {
    pub(super) at: u64,
    /// From the customers to the carrier, or the other way.
    pub(super) outwards: bool,
    pub(super) caller: Script,
    /// What each of the called side's targets does, should the call come to it, and then each of the addresses that
    /// a target may redirect to.
    pub(super) callees: [Script; 4],
}

/// How many of the called parties are targets of the trunk.
pub(super) const TARGETS: usize = 2;

/// What a party means to do.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) calling: Calling,
    pub(super) answering: Answering,
    /// What it does in the call, by the time since it was answered.
    pub(super) talk: Vec<(u64, Action)>,
    pub(super) on_reinvite: OnReinvite,
    pub(super) knows: Knows,
    /// How many proxies stand between it and Moorline, and stay on the way.
    pub(super) proxies: usize,
    /// It offers something else before the call is answered, this long after its offer was.
    pub(super) early_update: Option<u64>,
    /// Its link goes dead this long after it heard or said its first word.
    pub(super) vanishes_after: Option<u64>,
    /// It sends no media.
    pub(super) silent: bool,
}

/// Which extensions a party knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Knows {
    pub(super) reliable: Reliable,
    pub(super) update: bool,
    /// Session timers (RFC 4028), and how long it wants a session to last without a refresh.
    pub(super) timer: Option<u64>,
    /// The shortest session that it takes.
    pub(super) shortest: u64,
}

/// Reliable provisional answers (RFC 3262).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reliable {
    No,
    Supported,
    /// A caller requires them.
    Required,
}

/// How a caller calls.
#[derive(Debug, Clone)]
pub(super) struct Calling {
    /// It offers in the INVITE, not in the ACK.
    pub(super) offers: bool,
    pub(super) video: bool,
    /// It is not to be named to those who are not trusted.
    pub(super) private: bool,
    /// It gives up after this long.
    pub(super) patience: u64,
}

/// How a called party answers.
#[derive(Debug, Clone)]
pub(super) struct Answering {
    pub(super) progress: Vec<Progress>,
    pub(super) last: Final,
}

/// A provisional response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    pub(super) after: u64,
    pub(super) status: u16,
    /// Which of the called party's devices says so: each has its own To tag.
    pub(super) device: usize,
    pub(super) early_media: bool,
}

/// A final response.
#[derive(Debug, Clone, Copy)]
pub(super) enum Final {
    /// 200 from this device, and from the other one too, that much later.
    Answer {
        after: u64,
        device: usize,
        other_too: Option<u64>,
    },
    Refuse {
        after: u64,
        status: u16,
    },
    /// 302 to some of the called parties, by their positions, or to a stranger where there are none.
    Redirect {
        after: u64,
        to: [Option<usize>; 2],
    },
    /// It rings until somebody gives up.
    Never,
    /// It hears nothing.
    Dead,
}

/// Something that a party does in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Hold {
        inactive: bool,
    },
    Resume,
    /// A re-INVITE that asks for an offer.
    AskForOffer,
    /// A re-INVITE that is cancelled after this long.
    Waver {
        cancel_after: u64,
    },
    /// A refresh of the session.
    Refresh,
    /// An UPDATE that holds or resumes.
    Update {
        hold: bool,
    },
    Info,
    Options,
    Message,
    /// It asks the other party to call somebody else.
    Refer,
    Bye,
}

/// What a party says to a re-INVITE.
#[derive(Debug, Clone)]
pub(super) struct OnReinvite {
    pub(super) after: u64,
    /// In percent.
    pub(super) refuses: u64,
    pub(super) rings: bool,
}
