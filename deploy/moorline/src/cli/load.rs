//! The command line of `moorline load`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use moorline_bench::load::Number;

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct LoadArgs {
    /// Where INVITEs go: the SBC under test.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) target: SocketAddr,
    /// What SIP is carried over.
    #[arg(long, default_value = "udp", value_name = "TRANSPORT")]
    pub(crate) transport: TransportName,

    /// Calls placed per second.
    #[arg(long, default_value_t = 10.0, value_name = "CALLS/S", help_heading = "The load")]
    pub(crate) rate: f64,
    /// How many calls; 100 if neither this nor a duration is given.
    #[arg(long, conflicts_with = "duration", value_name = "N", help_heading = "The load")]
    pub(crate) calls: Option<u32>,
    /// For how long calls are placed, in seconds; of a ramp, for each step.
    #[arg(long, value_name = "S", help_heading = "The load")]
    pub(crate) duration: Option<f64>,
    /// The most calls at once: others wait for their turn.
    #[arg(long, value_name = "N", help_heading = "The load")]
    pub(crate) concurrent: Option<u32>,
    /// How long each call talks, in seconds.
    #[arg(long, default_value_t = 10.0, value_name = "S", help_heading = "The load")]
    pub(crate) talk: f64,
    /// How long each call rings, in seconds.
    #[arg(long, default_value_t = 0.2, value_name = "S", help_heading = "The load")]
    pub(crate) ring: f64,
    /// Raise the rate by steps until one is not clean, and name the highest that was.
    #[arg(long, value_name = "START..END/STEP", conflicts_with_all = ["rate", "calls"], help_heading = "The load")]
    pub(crate) ramp: Option<Ramp>,

    /// The caller's address; its own choice of port if none is given [default: the one that leads to the target].
    #[arg(long, value_name = "ADDR[:PORT]", help_heading = "Both sides")]
    pub(crate) caller: Option<Local>,
    /// The callee's address, to which the SBC must route the calls [default: the caller's address, port 5080].
    #[arg(long, value_name = "ADDR[:PORT]", help_heading = "Both sides")]
    pub(crate) callee: Option<Local>,
    /// The caller's media address [default: that of its SIP].
    #[arg(long, value_name = "ADDR", help_heading = "Both sides")]
    pub(crate) caller_media: Option<IpAddr>,
    /// The callee's media address [default: that of its SIP].
    #[arg(long, value_name = "ADDR", help_heading = "Both sides")]
    pub(crate) callee_media: Option<IpAddr>,
    /// The caller's network namespace, by its name in /run/netns.
    #[arg(long, value_name = "NAME", help_heading = "Both sides")]
    pub(crate) caller_netns: Option<String>,
    /// The callee's network namespace.
    #[arg(long, value_name = "NAME", help_heading = "Both sides")]
    pub(crate) callee_netns: Option<String>,
    /// Somebody else answers: media that comes back is verified if it is an echo, and counted if not.
    #[arg(long, conflicts_with_all = ["callee", "callee_media", "callee_netns"], help_heading = "Both sides")]
    pub(crate) uac_only: bool,

    /// What called numbers start with; six digits follow, which tell calls apart.
    #[arg(long, default_value = "1", value_name = "DIGITS", help_heading = "Numbers and credentials")]
    pub(crate) called_prefix: String,
    /// The called number, in which # stand for digits of the call: 49301###### for example.
    #[arg(long, value_name = "PATTERN", conflicts_with = "called_prefix", help_heading = "Numbers and credentials")]
    pub(crate) number: Option<Number>,
    /// The caller's number, likewise.
    #[arg(long, default_value = "8621######", value_name = "PATTERN", help_heading = "Numbers and credentials")]
    pub(crate) from: Number,
    /// Who the caller is when the SBC asks (401, 407).
    #[arg(long, value_name = "NAME", requires = "password", help_heading = "Numbers and credentials")]
    pub(crate) user: Option<String>,
    /// The caller's password. Others on this host can see it while the load runs.
    #[arg(long, value_name = "SECRET", requires = "user", help_heading = "Numbers and credentials")]
    pub(crate) password: Option<String>,

    /// The audio's codec.
    #[arg(long, default_value = "pcma", value_name = "CODEC", help_heading = "Media")]
    pub(crate) codec: CodecName,
    /// The time between packets of a stream, in milliseconds.
    #[arg(long, default_value_t = 20, value_name = "MS", value_parser = clap::value_parser!(u32).range(5..=60), help_heading = "Media")]
    pub(crate) packet_ms: u32,
    /// Send no media.
    #[arg(long, conflicts_with = "rtcp", help_heading = "Media")]
    pub(crate) no_media: bool,
    /// Send RTCP too.
    #[arg(long, help_heading = "Media")]
    pub(crate) rtcp: bool,
    /// A network of the SBC's media addresses: calls whose descriptions name others fail. May be given several times.
    #[arg(long, value_name = "NETWORK", help_heading = "Media")]
    pub(crate) relay_network: Vec<IpNet>,
    /// Fail calls in which a header or an SDP line that nobody knows did not cross byte for byte.
    #[arg(long, conflicts_with = "uac_only", help_heading = "Media")]
    pub(crate) verbatim: bool,

    /// Write the report as JSON.
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub(crate) json: Option<PathBuf>,
    /// Write the report as a page with plots.
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub(crate) html: Option<PathBuf>,
    /// The share of the packets that may be lost, in percent.
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT", value_parser = percent, help_heading = "Result")]
    pub(crate) max_loss: f64,
    /// The share of the calls that may fail, in percent.
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT", value_parser = percent, help_heading = "Result")]
    pub(crate) max_failed: f64,
}

const AFTER: &str = "\
The load is the caller on one side of the SBC and the callee on the other; every packet is labelled, and verified
where it arrives. Interrupted once, it hangs up and reports; twice, it ends at once.

Exit status: 0 within the thresholds, 1 beyond them or if the load could not run, 2 for wrong usage.

Examples:
  moorline load --target 192.0.2.1:5060 --rate 50 --duration 60 --talk 30 --html report.html
  moorline load --target 192.0.2.1:5060 --callee 198.51.100.7:5060 --number 4930###### --transport tcp
  moorline load --target 192.0.2.1:5060 --no-media --talk 1 --ramp 100..1000/100
  moorline load --target 192.0.2.9:5060 --uac-only --number 600     # an echo test, for example";

/// SIP's transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransportName {
    Udp,
    Tcp,
}

/// The codecs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CodecName {
    Pcma,
    Pcmu,
    G722,
}

/// An address of this host, perhaps with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Local {
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
}

impl FromStr for Local {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Local, &'static str> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Local { ip: address.ip(), port: Some(address.port()) });
        }
        let ip =
            text.parse().map_err(|_| "an IP address, perhaps with a port: 192.0.2.1, 192.0.2.1:5060, [::1]:5060")?;
        Ok(Local { ip, port: None })
    }
}

/// Rates from `start` to `end` by `step`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ramp {
    pub(crate) start: f64,
    pub(crate) end: f64,
    pub(crate) step: f64,
}

impl Ramp {
    /// The rates of the steps.
    pub(crate) fn rates(self) -> Vec<f64> {
        let steps = ((self.end - self.start) / self.step + 1e-9).floor() as u32;
        (0..=steps).map(|index| self.start + f64::from(index) * self.step).collect()
    }
}

const MAX_STEPS: f64 = 1_000.0;

impl FromStr for Ramp {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Ramp, &'static str> {
        let (start, rest) = text.split_once("..").ok_or("START..END/STEP, 10..100/10 for example")?;
        let (end, step) = rest.split_once('/').ok_or("START..END/STEP, 10..100/10 for example")?;
        let rate = |text: &str| text.trim().parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
        let (Some(start), Some(end), Some(step)) = (rate(start), rate(end), rate(step)) else {
            return Err("start, end and step are positive numbers of calls per second");
        };
        if end < start || (end - start) / step > MAX_STEPS {
            return Err("a ramp goes up, in at most 1000 steps");
        }
        Ok(Ramp { start, end, step })
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let value: f64 = text.trim_end_matches('%').trim().parse().map_err(|_| "a number of percent".to_owned())?;
    if (0.0..=100.0).contains(&value) { Ok(value) } else { Err("0 to 100 percent".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ramps_are_read() {
        let ramp: Ramp = "10..30/10".parse().expect("a ramp");
        assert_eq!(ramp.rates(), [10.0, 20.0, 30.0]);
        assert_eq!("0.1..0.3/0.1".parse::<Ramp>().map(|ramp| ramp.rates().len()), Ok(3));
        for wrong in ["10", "10..30", "30..10/5", "0..10/1", "1..1000000/1", "a..b/c", "1..inf/1"] {
            assert!(wrong.parse::<Ramp>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_read_with_and_without_port() {
        let local = |text: &str| text.parse::<Local>().map(|local| (local.ip.to_string(), local.port));
        assert_eq!(local("192.0.2.1"), Ok(("192.0.2.1".into(), None)));
        assert_eq!(local("[::1]:5060"), Ok(("::1".into(), Some(5060))));
        assert_eq!(local("::1"), Ok(("::1".into(), None)));
        assert!(local("localhost").is_err());
    }

    #[test]
    fn percent_is_percent() {
        assert_eq!(percent("0.5"), Ok(0.5));
        assert_eq!(percent("5%"), Ok(5.0));
        assert!(percent("101").is_err() && percent("-1").is_err() && percent("x").is_err());
    }
}
