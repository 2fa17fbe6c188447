//! The command line: what an operator can ask of the executable.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use moorline_control::SessionId;
use tracing::level_filters::LevelFilter;

pub(crate) mod limits;
pub(crate) mod load;
pub(crate) mod ops;
pub(crate) mod preset;
pub(crate) mod reload;

/// Moorline, a Session Border Controller: SIP signaling and media relay as two processes.
#[derive(Debug, Parser)]
#[command(name = "moorline", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit status: 0 done; 1 not done, for the reason that is printed; 2 the command line is wrong; \
                        3 `drain --wait`: calls are left."
)]
pub(crate) struct Cli {
    /// How much is logged: error, warn, info, debug or trace.
    #[arg(long, global = true, default_value = "info", value_name = "LEVEL", display_order = 1000)]
    pub(crate) log_level: LevelFilter,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run both processes as children; restart one that dies; stop both on SIGTERM or SIGINT.
    Up(ConfigArgs),
    /// Run the signaling process alone.
    Signaling(ProcessArgs),
    /// Run the media process alone.
    Media(ProcessArgs),
    /// Check a configuration and this host; exit status 1 if anything is wrong with the configuration.
    Check(CheckArgs),
    /// What is known of carriers, for `preset = "..."` on a trunk.
    #[command(subcommand)]
    Preset(preset::PresetCommand),
    /// Media sessions by hand, against a running media process.
    #[command(subcommand)]
    Session(SessionCommand),
    /// How the running signaling process is: calls, listeners, records, whether it takes new calls.
    Status(ops::StatusArgs),
    /// The trunks: how they are reached, registered, and how many calls they have.
    Trunks(ops::TrunksArgs),
    /// The calls, the oldest first.
    Calls(ops::CallsArgs),
    /// What is known of one call: both legs, numbers, tries, media.
    Call(ops::CallArgs),
    /// End a call on both legs.
    Hangup(ops::CallArgs),
    /// Take no new calls (they hear 503, and so do OPTIONS); those that are up go on. A restart takes calls again.
    Drain(ops::DrainArgs),
    /// Print what the HTTP interface for operators is, as an OpenAPI 3.1 document.
    Openapi,
    /// Limits of trunks: shown, and set while calls are up.
    #[command(subcommand)]
    Limits(limits::LimitsCommand),
    /// Callers and callees whose calls are refused, all or a share of them.
    #[command(subcommand)]
    Blacklist(limits::ListCommand),
    /// Callers and callees whose calls neither the blacklist refuses nor barred numbers.
    #[command(subcommand)]
    Whitelist(limits::ListCommand),
    /// Have a running process read its configuration again: show what is different, and apply all of it or nothing; exit
    /// status 1 where it is refused.
    Reload(reload::ReloadArgs),
    /// Have a running process go back to the configuration before, likewise.
    Rollback(reload::ReloadArgs),
    /// Place calls through both processes on loopback, and show what came of them.
    Demo(DemoArgs),
    /// Place calls with media through any SBC, and report what became of them.
    Load(Box<load::LoadArgs>),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration; without it, a built-in one that serves loopback.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ProcessArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The process to end with: set by `up` for its children.
    #[arg(long, hide = true, value_name = "PID")]
    pub(crate) parent: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The configuration; without it, the built-in one.
    #[arg(value_name = "CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The file is for another host: whether this one has its addresses, interfaces and directories does not matter.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Print what was found as one line of JSON: of each its severity (fault, warning or advice), file, line, column, key,
    /// problem and remedy.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Open plain two-leg sessions, print `A_RELAY B_RELAY` for each, and close them at SIGINT, SIGTERM
    /// or the end of piped standard input.
    Open(SessionOpenArgs),
    /// The open sessions, one a line: identifier, local RTP addresses by leg, and whether a client owns it.
    List(SessionListArgs),
    /// What is known of an open session's media: packets, loss, jitter, quality, silence, DTMF, round trips.
    Show(SessionShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SessionListArgs {
    /// Print each session as a line of JSON, with the names of the control protocol.
    #[arg(long)]
    pub(crate) json: bool,
    /// The media process's control socket; the built-in configuration's if left out.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) control: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SessionShowArgs {
    /// The session's identifier, as `list` and the logs give it.
    #[arg(value_name = "ID")]
    pub(crate) session: SessionId,
    /// Print one line of JSON, with the names and units of the control protocol.
    #[arg(long)]
    pub(crate) json: bool,
    /// The media process's control socket; the built-in configuration's if left out.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) control: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SessionOpenArgs {
    /// How many sessions.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) count: u32,
    /// The far RTP address of the first leg.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) a: SocketAddr,
    /// The far RTP address of the second leg.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) b: SocketAddr,
    /// The media range of both legs; the media process's first one if left out.
    #[arg(long, value_name = "NAME")]
    pub(crate) range: Option<String>,
    /// Another media range for the second leg.
    #[arg(long, value_name = "NAME")]
    pub(crate) range_b: Option<String>,
    /// The media process's control socket; the built-in configuration's if left out.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) control: Option<PathBuf>,
    /// Give each session far ports of its own: two above those of the session before.
    #[arg(long)]
    pub(crate) increment_ports: bool,
    /// Open so many a second; as fast as they are answered if left out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) per_second: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How many calls at once.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub(crate) calls: u32,
    /// How long each call talks, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
}
