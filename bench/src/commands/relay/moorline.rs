//! Moorline's media process: started, asked, and stopped.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use moorline_bench::scrape::fetch;

use super::lab::{CARRIER, CORE, CORE_RANGE, MEDIA_RANGE, Place};
use super::system::{Counters, Pair, Setup, System};
use crate::commands::process::{Error, Running, pin, pin_to, tied};

/// A media process.
pub(super) struct Moorline {
    process: Running,
    control: PathBuf,
    executable: PathBuf,
    /// Processes that hold sessions open until the end of their input.
    holders: Vec<Child>,
    pairs: Vec<Pair>,
}

/// In the SBC's namespace, where nothing else is.
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9061);

impl Moorline {
    pub(super) fn start(setup: &Setup, settings: &[&str], cores: &[usize], capacity: u32) -> Result<Moorline, Error> {
        let config = setup.directory.join("moorline.toml");
        let control = setup.directory.join("media.sock");
        let settings: Vec<&str> = settings.iter().copied().chain(setup.settings.iter().map(String::as_str)).collect();
        // What bypasses the kernel's stack is told where to.
        let is_bypass = settings.iter().any(|line| line.contains("offload") || line.contains("af_xdp"));
        let interfaces = is_bypass.then(|| setup.links.interfaces());
        std::fs::write(&config, configuration(&control, cores, capacity, &settings, interfaces.as_ref()))?;
        // Born on the shards' cores: its control thread shares them.
        pin_to(cores)?;
        let mut command = tied(&setup.executable);
        command.arg("media").arg("--config").arg(&config);
        let mut process =
            setup.lab.within(Place::Sbc, || Running::start("media", &mut command, &setup.directory))??;
        setup.lab.within(Place::Sbc, || process.await_ready(|| fetch(ADMIN, "/metrics").is_ok()))??;
        Ok(Moorline { process, control, executable: setup.executable.clone(), holders: Vec::new(), pairs: Vec::new() })
    }

    fn open_more(&mut self, count: usize, core: usize) -> Result<(), Error> {
        // What opens them must not wait for the relay's core.
        pin(core)?;
        let (holder, pairs) = open(self.opening(count, None), count)?;
        self.holders.push(holder);
        self.pairs.extend(pairs);
        Ok(())
    }

    /// The command that opens that many sessions, by so many a second if that is told.
    pub(super) fn opening(&self, count: usize, per_second: Option<u32>) -> Command {
        let mut command = tied(&self.executable);
        command.args(["session", "open", "--range", "core", "--range-b", "carrier", "--count", &count.to_string()]);
        command.args(["--a", &CORE.to_string(), "--b", &CARRIER.to_string(), "--control"]).arg(&self.control);
        if let Some(per_second) = per_second {
            command.args(["--per-second", &per_second.to_string()]);
        }
        command
    }
}

/// Opens sessions by `moorline session open`. They stay as long as the process, which is given back.
pub(super) fn open(mut command: Command, count: usize) -> Result<(Child, Vec<Pair>), Error> {
    let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let output = holder.stdout.take().ok_or("no output of moorline session open")?;
    let mut pairs = Vec::new();
    for line in BufReader::new(output).lines().take(count) {
        pairs.push(pair(&line?)?);
    }
    let opened = pairs.len();
    if opened == count { Ok((holder, pairs)) } else { Err(format!("{opened} of {count} sessions opened").into()) }
}

impl System for Moorline {
    fn open(&mut self, setup: &Setup, count: usize) -> Result<Vec<Pair>, Error> {
        if let Some(more) = count.checked_sub(self.pairs.len()).filter(|more| *more > 0) {
            self.open_more(more, setup.load_core)?;
        }
        Ok(self.pairs.iter().take(count).copied().collect())
    }

    fn process(&self) -> Option<&Running> {
        Some(&self.process)
    }

    fn counters(&self, setup: &Setup) -> Result<Option<Counters>, Error> {
        Ok(Some(setup.lab.within(Place::Sbc, || fetch(ADMIN, "/metrics"))??))
    }

    fn stop(mut self: Box<Self>, _: &Setup) -> Result<(), Error> {
        for holder in &mut self.holders {
            // `wait` closes its input first, which ends it.
            holder.wait()?;
        }
        self.process.stop()
    }
}

fn pair(line: &str) -> Result<Pair, Error> {
    let (a, b) = line.split_once(' ').ok_or_else(|| format!("not two addresses: {line}"))?;
    Ok((a.parse()?, b.parse()?))
}

/// The signaling process is not started, but a file without a peer for it is refused.
fn configuration(
    control: &Path,
    cores: &[usize],
    capacity: u32,
    settings: &[&str],
    interfaces: Option<&[String; 2]>,
) -> String {
    let [core, carrier] =
        [0, 1].map(|side| interfaces.map_or_else(String::new, |names| format!("interface = \"{}\"\n", names[side])));
    let control = control.display();
    let mut lines = String::new();
    for setting in settings {
        // To a String.
        let _ = writeln!(lines, "{setting}");
    }
    format!(
        r#"
[media]
control = "{control}"
admin = "{ADMIN}"
cores = {cores:?}
capacity = {capacity}
port_rest_s = 1
{lines}
[[media.ranges]]
name = "core"
network = "{CORE_RANGE}"
{core}
[[media.ranges]]
name = "carrier"
network = "{MEDIA_RANGE}"
{carrier}
[signaling]
control = "{control}"

[[signaling.trunks]]
name = "nobody"
listener = "local"
targets = ["127.0.0.1:5080"]
media_range = "core"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_in_the_media_table() {
        let text =
            configuration(Path::new("/x/media.sock"), &[3, 4], 100, &["datapath = \"epoll\"", "port_rest_s = 2"], None);
        let (media, _) = text.split_once("[[media.ranges]]").unwrap();
        assert!(
            media.contains("datapath = \"epoll\"\nport_rest_s = 2\n") && media.contains("cores = [3, 4]"),
            "{text}"
        );
    }

    #[test]
    fn interfaces_are_those_of_the_ranges() {
        let names = ["core1".to_owned(), "carrier1".to_owned()];
        let text = configuration(Path::new("/x"), &[0], 1, &[], Some(&names));
        let named = |range: &str| text.split("[[media.ranges]]").find(|part| part.contains(range)).unwrap().to_owned();
        assert!(named(CORE_RANGE).contains("\ninterface = \"core1\"\n"), "{text}");
        assert!(named(MEDIA_RANGE).contains("\ninterface = \"carrier1\"\n"), "{text}");
    }

    #[test]
    fn lines_of_sessions_are_read() {
        assert_eq!(pair("192.0.2.1:2 47.1.1.1:4").unwrap().1.port(), 4);
        assert!(pair("192.0.2.1:2").is_err() && pair("a b").is_err());
    }
}
