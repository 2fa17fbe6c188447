//! What is known of carriers.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum PresetCommand {
    /// The presets, what each is for, its regions, and the keys that a trunk must say beside it.
    List(PresetListArgs),
    /// A preset as a trunk of a configuration: what `preset = "NAME"` stands for.
    Show(PresetShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PresetListArgs {
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PresetShowArgs {
    /// The preset.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The region, for a preset that has some; without it the keys of each are comments.
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// Print one line of JSON: what it says of itself, and the keys that it puts beneath those of a trunk.
    #[arg(long)]
    pub(crate) json: bool,
}
