//! `moorline preset list` and `moorline preset show`.

use std::io::Write;
use std::process::ExitCode;

use super::{PRESETS, find, names};
use crate::Outcome;
use crate::cli::preset::PresetCommand;

/// Exit status 1 for a preset or a region that there is not.
pub(crate) fn run(command: &PresetCommand) -> Outcome {
    let mut out = std::io::stdout().lock();
    match command {
        PresetCommand::List => {
            for preset in &PRESETS {
                let head = preset.head();
                writeln!(out, "{:20} {}", preset.name, head.about)?;
                let regions = preset.regions();
                if !regions.is_empty() {
                    writeln!(out, "{:20}   region: {}", "", regions.join(", "))?;
                }
                let needs: Vec<String> = head.needs.iter().map(|need| need.keys.join(" or ")).collect();
                writeln!(out, "{:20}   needs: {}", "", needs.join(", "))?;
            }
        }
        PresetCommand::Show(args) => {
            let preset = find(&args.name)
                .ok_or_else(|| format!("no preset is called {:?}: there are {}", args.name, names()))?;
            let regions = preset.regions();
            if let Some(region) = args.region.as_ref().filter(|region| !regions.contains(region)) {
                let there = match regions.is_empty() {
                    true => "it has none".to_owned(),
                    false => format!("there are {}", regions.join(", ")),
                };
                return Err(format!("preset {:?} has no region {region:?}: {there}", preset.name).into());
            }
            write!(out, "{}", preset.as_trunk(args.region.as_deref()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
