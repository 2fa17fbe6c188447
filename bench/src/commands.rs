//! The subcommands, one file each.

pub(crate) mod attack;
pub(crate) mod garbage;
pub(crate) mod load;
pub(crate) mod relay;
pub(crate) mod scrape;
pub(crate) mod signaling;
pub(crate) mod sim;
pub(crate) mod soak;
pub(crate) mod speech;
pub(crate) mod verify_captures;
pub(crate) mod verify_media;

mod process;

/// What a command comes to: an exit status, or why it could not be done.
pub(crate) type Outcome = Result<std::process::ExitCode, Box<dyn std::error::Error>>;
