//! `moorline check`: is this configuration right, what does it say, does all of it work, and is this host fit for it?

mod here;
mod report;

use std::path::Path;

use moorline_media::Range;
use moorline_signaling::{ConfigFault, ShareConfig, TrunksConfig};

use crate::Outcome;
use crate::cli::CheckArgs;
use crate::config::{ConfigError, Configuration};
use crate::host;
use report::{Report, Usable};

/// Something that is wrong with a configuration which the processes would take, or that is hardly meant.
struct Finding {
    path: String,
    problem: String,
    remedy: String,
}

impl Finding {
    fn new(path: String, problem: String, remedy: String) -> Finding {
        Finding { path, problem, remedy }
    }
}

impl From<ConfigFault> for Finding {
    fn from(fault: ConfigFault) -> Finding {
        Finding::new(fault.path, fault.problem, fault.remedy)
    }
}

/// Exit status 1 for a configuration with faults, or with what cannot work on this host. Warnings and advice change
/// nothing.
pub(crate) fn run(args: &CheckArgs) -> Outcome {
    look(args).print(args.json)
}

fn look(args: &CheckArgs) -> Report {
    let offline = args.offline;
    let refused = |name: String, error, warnings| Report { name, error: Some(error), warnings, usable: None, offline };
    let (name, text) = match Configuration::text(args.config.as_deref()) {
        Ok(read) => read,
        Err(error) => {
            let name = args.config.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            return refused(name, error, Vec::new());
        }
    };
    let configuration = match Configuration::parse(&name, &text) {
        Ok(configuration) => configuration,
        Err(error) => return refused(name, error, Vec::new()),
    };

    let doubts = configuration.signaling.doubts();
    let mut futile: Vec<Finding> = doubts.futile.into_iter().map(Finding::from).collect();
    let mut idle: Vec<Finding> = doubts.idle.into_iter().map(Finding::from).collect();
    let directory = configuration.media.announcements.as_deref();
    let announcements = moorline_media::announcements(directory).unwrap_or_else(|error| {
        if !offline || directory.is_some_and(Path::exists) {
            let remedy = "mend that, or name another directory";
            futile.push(Finding::new("media.announcements".into(), error.to_string(), remedy.into()));
        }
        Vec::new()
    });
    idle.extend(unused_ranges(&configuration));
    if !offline {
        futile.extend(here::missing(&configuration));
        idle.extend(here::absent(&configuration));
    }
    let located = |found: Vec<Finding>| {
        Configuration::located(&text, found.into_iter().map(|it| [it.path, it.problem, it.remedy]).collect())
    };
    let (faults, warnings) = (located(futile), located(idle));
    if !faults.is_empty() {
        return refused(name.clone(), ConfigError::Faults { file: name, faults }, warnings);
    }
    let advice = if offline { Vec::new() } else { host::advice(&configuration) };
    Report { name, error: None, warnings, usable: Some(Usable { configuration, announcements, advice }), offline }
}

fn unused_ranges(configuration: &Configuration) -> Vec<Finding> {
    let used = |name: &str| configuration.signaling.trunks.iter().any(|trunk| trunk.media_range == name);
    let ranges = configuration.media.ranges.iter().enumerate();
    let finding = |(index, range): (usize, &Range)| {
        let problem = format!("no trunk has media range {:?}", range.name);
        let remedy = "name it as a trunk's `media_range`, or remove it";
        Finding::new(format!("media.ranges[{index}].name"), problem, remedy.into())
    };
    ranges.filter(|(_, range)| !used(&range.name)).map(finding).collect()
}

fn summary(configuration: &Configuration) -> String {
    let Configuration { name, signaling, media, .. } = configuration;
    let mut lines = vec![format!("{name}: no faults")];
    for listener in &signaling.listeners {
        let advertised = listener.advertised.map(|at| format!(", shown to peers as {at}")).unwrap_or_default();
        let transports: Vec<&str> = listener.transports.iter().map(|transport| transport.name()).collect();
        let transports = transports.join(" and ");
        lines.push(format!("listener {:?}: SIP over {transports} on {}{advertised}", listener.name, listener.bind));
    }
    for trunk in &signaling.trunks {
        lines.push(format!(
            "trunk {:?}: through {:?}, media range {:?}, calls from {}, calls to {}",
            trunk.name,
            trunk.listener,
            trunk.media_range,
            list(&trunk.sources),
            list(&trunk.targets)
        ));
    }
    for trunk in &signaling.trunks {
        for (direction, limits) in [("from", &trunk.limits.inbound), ("to", &trunk.limits.outbound)] {
            let numbers = [
                ("at once", limits.calls),
                ("a second", limits.calls_per_second),
                ("of a caller at once", limits.calls_per_caller),
                ("to a callee a day", limits.calls_per_callee_a_day),
            ];
            let numbers = numbers.into_iter().filter_map(|(what, most)| Some(format!("{} {what}", most?)));
            let numbers: Vec<String> = numbers.collect();
            if !numbers.is_empty() {
                lines.push(format!("limit: calls {direction} {:?}: {}", trunk.name, numbers.join(", ")));
            }
        }
    }
    for route in &signaling.routes {
        let from = route.from.as_ref().map(|name| format!(" from {name:?}")).unwrap_or_default();
        let caller = Some(&route.caller_prefix).filter(|prefix| !prefix.is_empty());
        let caller = caller.map(|prefix| format!(" of callers starting {prefix:?}")).unwrap_or_default();
        let when = route.when.as_ref().map(|times| format!(" on {times}")).unwrap_or_default();
        let way = match (&route.to, &route.redirect, &route.refuse) {
            (Some(to), ..) => format!("to {}", trunks(to)),
            (None, Some(redirect), _) => format!("redirected to {redirect:?}"),
            (None, None, refuse) => format!("refused {}", refuse.as_ref().map_or(0, |refuse| refuse.status)),
        };
        lines.push(format!("route: numbers starting {:?}{caller}{from}{when} {way}", route.prefix));
    }
    for group in &signaling.trunk_groups {
        lines.push(format!("trunk group {:?}: {}", group.name, trunks(&group.trunks)));
    }
    if let Some(file) = &signaling.routes_file {
        lines.push(format!("more routes: {}", file.display()));
    }
    for range in &media.ranges {
        let (network, first, last) = (range.network, range.first_port, range.last_port);
        lines.push(format!("media range {:?}: {network}, ports {first} to {last}", range.name));
    }
    lines.push(format!("admin HTTP: signaling {}, media {}", signaling.admin, media.admin));
    lines.push(format!("control socket: {}", media.control.display()));
    lines.push(format!("command socket: {}", signaling.command_path().display()));
    lines.join("\n") + "\n"
}

/// Trunks in the order in which calls try them.
fn trunks(to: &TrunksConfig) -> String {
    match to {
        TrunksConfig::One(name) => format!("{name:?}"),
        TrunksConfig::InOrder(names) => {
            names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", then ")
        }
        TrunksConfig::Shared(shares) => {
            let share = |share: &ShareConfig| format!("{:?} ({}, {})", share.trunk, share.order, share.weight);
            shares.iter().map(share).collect::<Vec<_>>().join(", ") + " by order and weight"
        }
    }
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    if items.is_empty() {
        return "nowhere".into();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
