//! What can be asked of a running signaling process about its configuration.

use clap::Args;

use super::limits::SocketArgs;

#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    /// Only show what would change.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}
