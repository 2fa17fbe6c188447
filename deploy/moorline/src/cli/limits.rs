//! What can be asked of a running signaling process about the limits of its trunks.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum LimitsCommand {
    /// The limits of trunks, how many calls they have, and how many were refused.
    Show(LimitsShowArgs),
    /// Set limits of a trunk, or say of one of its users whether its account is in arrears, at once and for all workers;
    /// calls that are up go on.
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
    /// A user of the trunk, as in its credentials without the domain: of it alone `arrears` can be set, and its calls alone
    /// are refused then.
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// What to set: `inbound.calls=100`, `outbound.calls_per_second=none`, `arrears=true`; `default` is what the
    /// configuration says.
    #[arg(value_name = "KEY=VALUE", required = true, value_parser = assignment)]
    pub(crate) values: Vec<(String, String)>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ListCommand {
    /// Put a row into the list, in place of what it said before.
    Add(AddArgs),
    /// Take a row out.
    Remove(RowArgs),
    /// The rows, one a line: caller, called, percent, and the trunk that the calls come from.
    List(ListArgs),
}

/// A row that says neither who calls nor who is called would be for all calls: that must be written.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("who").args(["caller", "called"]).required(true).multiple(true))]
pub(crate) struct RowArgs {
    /// Who calls: a number's beginning, a pattern such as 0755xxx, `anonymous`, or `*` for everybody, which it is if only
    /// who is called is said.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) caller: Option<String>,
    /// Who is called: a number's beginning, a pattern, or `*` for everybody, which it is if only who calls is said.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) called: Option<String>,
    /// Only calls from this trunk.
    #[arg(long, value_name = "TRUNK")]
    pub(crate) from: Option<String>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    pub(crate) row: RowArgs,
    /// How many of a hundred such calls a black row refuses; all, if left out. A white row has none.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) percent: Option<u8>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print each page of rows as a line of JSON.
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
    /// The configuration that the process runs on, which says where that socket is; the built-in one if neither is there.
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    pub(crate) config: Option<PathBuf>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as inbound.calls=100")?;
    Ok((key.to_owned(), value.to_owned()))
}
