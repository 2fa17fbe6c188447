//! What can be asked of a running signaling process about the limits of its trunks.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum LimitsCommand {
    /// The limits of trunks, how many calls they have, and how many were refused.
    Show(LimitsShowArgs),
    /// Set limits of a trunk, at once and for all workers; calls that are up go on.
    Set(LimitsSetArgs),
}

#[derive(Debug, Args)]
pub(crate) struct LimitsShowArgs {
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
pub(crate) struct LimitsSetArgs {
    /// The trunk.
    #[arg(value_name = "TRUNK")]
    pub(crate) trunk: String,
    /// What to set: `inbound.calls=100`, `outbound.calls_per_second=none`, `arrears=true`; `default` is what the
    /// configuration says.
    #[arg(value_name = "KEY=VALUE", required = true, value_parser = assignment)]
    pub(crate) values: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ListCommand {
    /// Put a row into the list, in place of what it said before.
    Add(RowArgs),
    /// Take a row out.
    Remove(RowArgs),
    /// The rows, one a line: caller, called, percent, and the trunk that the calls come from.
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RowArgs {
    /// Who calls: a number's beginning, a pattern such as 0755xxx, `anonymous`, or `*` for everybody.
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    pub(crate) caller: String,
    /// Who is called: a number's beginning, a pattern, or `*` for everybody.
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    pub(crate) called: String,
    /// Only calls from this trunk.
    #[arg(long, value_name = "TRUNK")]
    pub(crate) from: Option<String>,
    /// How many of a hundred such calls a black row refuses; all, if left out.
    #[arg(long, value_name = "N")]
    pub(crate) percent: Option<u8>,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print each row as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

/// Where the process is found.
#[derive(Debug, Args)]
pub(crate) struct SocketArgs {
    /// The process's command socket (`signaling.command`).
    #[arg(long, value_name = "SOCKET")]
    pub(crate) socket: Option<PathBuf>,
    /// The configuration that the process runs on; the built-in one if neither is there.
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    pub(crate) config: Option<PathBuf>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as inbound.calls=100")?;
    Ok((key.to_owned(), value.to_owned()))
}
