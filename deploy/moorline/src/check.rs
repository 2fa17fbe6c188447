//! `moorline check`: is this configuration right, what does it say, and is this host fit for it?

use std::io::Write;
use std::process::ExitCode;

use moorline_signaling::{ShareConfig, TrunksConfig};

use crate::Outcome;
use crate::cli::CheckArgs;
use crate::config::{ConfigError, Configuration};
use crate::host;

/// Exit status 1 for a configuration with faults. Advice about the host changes nothing: the file may be
/// meant for another one.
pub(crate) fn run(args: &CheckArgs) -> Outcome {
    let configuration = match Configuration::load(args.config.as_deref()) {
        Ok(configuration) => configuration,
        Err(error) => {
            eprintln!("{error}");
            if let ConfigError::Faults { file, faults } = &error {
                eprintln!("{file}: {} fault{}", faults.len(), if faults.len() == 1 { "" } else { "s" });
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let announcements = match moorline_media::announcements(configuration.media.announcements.as_deref()) {
        Ok(announcements) => announcements,
        Err(error) => {
            eprintln!("{}: media.announcements: {error}", configuration.name);
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut advice = host::advice(&configuration);
    for (index, route) in configuration.signaling.routes.iter().enumerate() {
        let named = route.refuse.as_ref().and_then(|refuse| refuse.announcement.as_deref());
        if let Some(name) = named.filter(|name| announcements.iter().all(|known| known.name != *name)) {
            advice.push(format!(
                "signaling.routes[{index}].refuse.announcement: media has no {name:?}, so callers are refused without; \
                 put {name}.wav into media.announcements"
            ));
        }
    }
    let mut out = std::io::stdout().lock();
    write!(out, "{}", summary(&configuration))?;
    for announcement in &announcements {
        let from = announcement.file.as_ref().map_or("built in".into(), |file| file.display().to_string());
        let seconds = f64::from(announcement.length_ms) / 1000.0;
        writeln!(out, "announcement {:?}: {seconds:.1} s, {from}", announcement.name)?;
    }
    for line in &advice {
        writeln!(out, "advice: {line}")?;
    }
    if advice.is_empty() {
        writeln!(out, "this host needs no change")?;
    }
    Ok(ExitCode::SUCCESS)
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
