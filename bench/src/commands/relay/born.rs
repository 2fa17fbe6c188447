//! Frames born in XDP: a generator that enters them into the relay's links as a driver would, and counts, checks in
//! part and drops what comes back (`bench/forwarders/born.c`). What veth does to turn a socket's packet into a frame
//! falls away, and what is left is the relay's.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::system::{Kind, Setup, System};
use crate::commands::process::{Error, median, pin, tied};

/// What was measured with them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Born {
    /// CPU per packet at [`RATE`], of those that carry it.
    pub(super) packet_ns: Option<f64>,
    /// The highest rate that was relayed with a loss of 1 % at most.
    pub(super) highest: f64,
    /// The generator brought no more.
    pub(super) is_bounded: bool,
}

/// Packets a second at which CPU is measured.
pub(super) const RATE: u32 = 200_000;
/// The time of one run: longer ones say nothing more, as nothing is awaited between packets.
const SECONDS: f64 = 0.5;
/// The same through the kernel's sockets, whose buffers hide for a while that a rate is not held.
const SOCKETS_SECONDS: f64 = 3.0;

/// Measures systems in turn, round by round, and gives the medians in the order of `kinds`.
pub(super) fn measure(setup: &Setup, kinds: &[Kind], calls: u32, rounds: u32) -> Result<Vec<Born>, Error> {
    setup.links.far_ends_by_timer(&setup.lab, true)?;
    let measured = rounds_of(setup, kinds, calls, rounds);
    setup.links.far_ends_by_timer(&setup.lab, false)?;
    let measured = measured?;
    Ok((0..kinds.len()).map(|index| of_rounds(measured.iter().map(|round| round[index]))).collect())
}

fn rounds_of(setup: &Setup, kinds: &[Kind], calls: u32, rounds: u32) -> Result<Vec<Vec<Born>>, Error> {
    let mut all = Vec::new();
    for number in 1..=rounds {
        let mut round = Vec::new();
        for kind in kinds {
            let mut system = kind.start(setup)?;
            let pairs = system.open(setup, calls as usize)?;
            let mut generator = Generator::start(setup, &*system)?;
            for (a, b) in pairs {
                generator.tell(&format!("{a} {b}"))?;
            }
            let steady = match kind.is_bypass() {
                true => Some(generator.ask(&format!("{RATE} {SECONDS}"))?),
                false => None,
            };
            let seconds = if kind.is_bypass() { SECONDS } else { SOCKETS_SECONDS };
            let highest = generator.ask(&format!("highest {seconds}"))?;
            generator.end()?;
            system.stop(setup)?;
            if let Some(steady) = &steady {
                println!("round {number} {:<11} at {RATE} packets/s: {steady}", kind.name());
            }
            println!("round {number} {:<11} highest: {highest}", kind.name());
            let born = Born {
                packet_ns: steady.as_deref().map(|line| Ok::<_, Error>(value(line, "us")? * 1e3)).transpose()?,
                highest: value(&highest, "highest").unwrap_or_default(),
                is_bounded: value(&highest, "bounded").is_ok_and(|bounded| bounded > 0.0),
            };
            let wrong = |line: &str| Ok::<_, Error>(value(line, "wrong")? > 0.0);
            if wrong(&highest)? || steady.as_deref().map_or(Ok(false), wrong)? {
                return Err(format!("{}: frames came back that were wrong", kind.name()).into());
            }
            round.push(born);
        }
        all.push(round);
    }
    Ok(all)
}

fn of_rounds(rounds: impl Iterator<Item = Born> + Clone) -> Born {
    Born {
        packet_ns: rounds
            .clone()
            .all(|born| born.packet_ns.is_some())
            .then(|| median(rounds.clone().filter_map(|born| born.packet_ns))),
        highest: median(rounds.clone().map(|born| born.highest)),
        is_bounded: rounds.clone().any(|born| born.is_bounded),
    }
}

/// Of `key=value key=value`.
fn value(line: &str, key: &str) -> Result<f64, Error> {
    let found = line.split_whitespace().find_map(|word| word.split_once('=').filter(|(known, _)| *known == key));
    Ok(found.ok_or_else(|| format!("no {key} in what the generator said: {line}"))?.1.parse()?)
}

/// The generator, which ends with its value.
struct Generator {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Generator {
    fn start(setup: &Setup, system: &dyn System) -> Result<Generator, Error> {
        pin(setup.load_core)?;
        let mut command = tied(&setup.forwarders().join("born"));
        if let Some(process) = system.process() {
            command.args(["-p", &process.id().to_string()]);
        }
        let threads: Vec<String> = setup.lab.relay_kthreads.iter().map(u32::to_string).collect();
        command.args(["-k", &threads.join(","), "-c", &setup.relay_core.to_string()]).args(setup.links.far_sides());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("no input of the generator")?;
        let output = BufReader::new(child.stdout.take().ok_or("no output of the generator")?);
        Ok(Generator { child, input, output })
    }

    fn tell(&mut self, line: &str) -> Result<(), Error> {
        Ok(writeln!(self.input, "{line}")?)
    }

    fn ask(&mut self, line: &str) -> Result<String, Error> {
        self.tell(line)?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        if answer.is_empty() { Err("the generator failed".into()) } else { Ok(answer.trim().to_owned()) }
    }

    fn end(self) -> Result<(), Error> {
        let Generator { mut child, input, .. } = self;
        drop(input);
        let status = child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the generator: {status}").into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let line = "us=0.271 process=0.000 highest=1500000 bounded=1";
        assert_eq!(value(line, "us").unwrap(), 0.271);
        assert_eq!(value(line, "bounded").unwrap(), 1.0);
        assert!(value(line, "loss").is_err() && value("us=x", "us").is_err());
    }

    #[test]
    fn rounds_become_medians() {
        let born = |packet_ns, highest, is_bounded| Born { packet_ns: Some(packet_ns), highest, is_bounded };
        let rounds = [born(3.0, 10.0, false), born(1.0, 30.0, true), born(2.0, 20.0, false)];
        assert_eq!(of_rounds(rounds.into_iter()), born(2.0, 20.0, true));
        let by_sockets = Born { packet_ns: None, highest: 5.0, is_bounded: false };
        assert_eq!(of_rounds([by_sockets].into_iter()), by_sockets);
    }
}
