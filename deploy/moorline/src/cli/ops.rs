//! What can be asked of a running signaling process about its calls and trunks, and done to them.

use clap::{Args, ValueEnum};
use moorline_control::SessionId;
use moorline_signaling::inspect::CallState;

use super::limits::SocketArgs;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TrunksArgs {
    /// This trunk only.
    #[arg(value_name = "TRUNK")]
    pub(crate) trunk: Option<String>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CallsArgs {
    /// Only calls that came from this trunk or went to it.
    #[arg(long, value_name = "TRUNK")]
    pub(crate) trunk: Option<String>,
    /// Only calls with a number, of caller or called, as it came or was sent on, that begins like this.
    #[arg(long, value_name = "DIGITS")]
    pub(crate) number: Option<String>,
    /// Only calls that have come so far; all but those that are ending, if left out.
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<State>,
    /// How many at most: 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Go on behind the page that ended with this.
    #[arg(long, value_name = "NEXT")]
    pub(crate) after: Option<String>,
    /// All of them, page by page.
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// Print each page as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    /// The called side has not shown a sign of life yet.
    Connecting,
    /// The called side rings.
    Ringing,
    /// The caller is told by an announcement why it is refused.
    Announcing,
    /// Answered.
    Up,
    /// Over; the last messages are on their way.
    Ending,
}

impl From<State> for CallState {
    fn from(state: State) -> CallState {
        match state {
            State::Connecting => CallState::Connecting,
            State::Ringing => CallState::Ringing,
            State::Announcing => CallState::Announcing,
            State::Up => CallState::Up,
            State::Ending => CallState::Ending,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// The call's name, as `moorline calls`, logs and records give it.
    #[arg(value_name = "ID")]
    pub(crate) call: SessionId,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// Take new calls again.
    #[arg(long, conflicts_with = "wait")]
    pub(crate) off: bool,
    /// Wait until no call is left, for so many seconds at most; exit status 3 if some are left then.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86400))]
    pub(crate) wait: Option<u64>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}
