//! What a check has found, for people and for programs.

use std::io::Write;
use std::process::ExitCode;

use moorline_media::AnnouncementSource;
use serde::Serialize;

use crate::Outcome;
use crate::config::{ConfigError, Configuration, Fault};

/// All that there is to be told of a file.
pub(super) struct Report {
    /// The file.
    pub(super) name: String,
    /// Why it cannot be used.
    pub(super) error: Option<ConfigError>,
    /// What is hardly meant.
    pub(super) warnings: Vec<Fault>,
    /// What it says, if it can be used.
    pub(super) usable: Option<Usable>,
    /// This host was not looked at.
    pub(super) offline: bool,
}

/// A configuration that can be used.
pub(super) struct Usable {
    pub(super) configuration: Configuration,
    /// What there is to play, as far as that is known.
    pub(super) announcements: Vec<AnnouncementSource>,
    /// What would be better on this host.
    pub(super) advice: Vec<String>,
}

/// `{"check":{...}}`.
#[derive(Serialize)]
struct Told<'a> {
    file: &'a str,
    /// Whether the processes would take it, and all of it could work.
    usable: bool,
    findings: Vec<Finding<'a>>,
    announcements: Vec<Announcement<'a>>,
    /// Whether this host was looked at.
    offline: bool,
}

/// Something that was found.
#[derive(Serialize)]
struct Finding<'a> {
    severity: &'static str,
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "str::is_empty")]
    key: &'a str,
    problem: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    remedy: &'a str,
}

/// Something to play.
#[derive(Serialize)]
struct Announcement<'a> {
    name: &'a str,
    length_ms: u32,
    /// Absent for a built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

impl Report {
    /// Exit status 1 where the file cannot be used.
    pub(super) fn print(&self, json: bool) -> Outcome {
        if json {
            self.print_json()?
        } else {
            self.print_text()?
        }
        Ok(if self.error.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn print_text(&self) -> std::io::Result<()> {
        let Some(Usable { configuration, announcements, advice }) = &self.usable else {
            self.warnings.iter().for_each(|warning| eprintln!("warning: {}", warning.of(&self.name)));
            if let Some(error) = &self.error {
                eprintln!("{error}");
            }
            if let Some(ConfigError::Faults { file, faults }) = &self.error {
                eprintln!("{file}: {} fault{}", faults.len(), if faults.len() == 1 { "" } else { "s" });
            }
            return Ok(());
        };
        let mut out = std::io::stdout().lock();
        write!(out, "{}", super::summary(configuration))?;
        for announcement in announcements {
            let from = announcement.file.as_ref().map_or("built in".into(), |file| file.display().to_string());
            let seconds = f64::from(announcement.length_ms) / 1000.0;
            writeln!(out, "announcement {:?}: {seconds:.1} s, {from}", announcement.name)?;
        }
        for warning in &self.warnings {
            writeln!(out, "warning: {}", warning.of(&self.name))?;
        }
        for line in advice {
            writeln!(out, "advice: {line}")?;
        }
        if self.offline {
            writeln!(out, "this host was not looked at")?;
        } else if advice.is_empty() {
            writeln!(out, "this host needs no change")?;
        }
        Ok(())
    }

    fn print_json(&self) -> std::io::Result<()> {
        let file = self.name.as_str();
        let of =
            |severity: &'static str| move |fault: &'_ Fault| -> (&'static str, Fault) { (severity, fault.clone()) };
        let faults = match &self.error {
            Some(ConfigError::Faults { faults, .. }) => faults.as_slice(),
            _ => &[],
        };
        let located: Vec<(&str, Fault)> =
            faults.iter().map(of("fault")).chain(self.warnings.iter().map(of("warning"))).collect();
        let mut findings: Vec<Finding<'_>> = located
            .iter()
            .map(|(severity, fault)| Finding {
                severity,
                file,
                line: Some(fault.line),
                column: Some(fault.column),
                key: &fault.key,
                problem: fault.problem.clone(),
                remedy: &fault.remedy,
            })
            .collect();
        let plain = |severity, problem, remedy| {
            let (line, column) = (None, None);
            Finding { severity, file, line, column, key: "", problem, remedy }
        };
        if let Some(ConfigError::Unreadable { source, .. }) = &self.error {
            findings.push(plain("fault", source.to_string(), "name a configuration file that can be read"));
        }
        let usable = self.usable.as_ref();
        let advice = usable.iter().flat_map(|usable| &usable.advice);
        findings.extend(advice.map(|line| plain("advice", line.clone(), "")));
        let announcements = usable.iter().flat_map(|usable| &usable.announcements).map(|source| Announcement {
            name: &source.name,
            length_ms: source.length_ms,
            file: source.file.as_ref().map(|file| file.display().to_string()),
        });
        let announcements = announcements.collect();
        let told = Told { file, usable: usable.is_some(), findings, announcements, offline: self.offline };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::json!({ "check": told }))
    }
}
