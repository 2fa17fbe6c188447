//! `moorline preset list` and `moorline preset show`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{PRESETS, Preset, find, names};
use crate::Outcome;
use crate::cli::preset::PresetCommand;

/// Exit status 1 for a preset or a region that there is not.
pub(crate) fn run(command: &PresetCommand) -> Outcome {
    let mut out = std::io::stdout().lock();
    match command {
        PresetCommand::List(args) if args.json => {
            let all: Vec<Value> = PRESETS.iter().map(Preset::told).collect();
            writeln!(out, "{}", json!({ "presets": all }))?;
        }
        PresetCommand::List(_) => {
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
            if args.json {
                let mut told = preset.told();
                told["region"] = json!(args.region);
                told["trunk"] = serde_json::to_value(preset.keys(args.region.as_deref()))?;
                writeln!(out, "{}", json!({ "preset": told }))?;
            } else {
                write!(out, "{}", preset.as_trunk(args.region.as_deref()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Preset {
    /// What it says of itself.
    fn told(&self) -> Value {
        let head = self.head();
        let needs: Vec<Value> =
            head.needs.iter().map(|need| json!({ "one_of": need.keys, "example": need.example })).collect();
        json!({ "name": self.name, "about": head.about, "regions": self.regions(), "needs": needs })
    }
}
