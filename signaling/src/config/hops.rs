//! How the targets of a trunk are watched, as it is written.

use moorline_b2bua::policy::Large;
use serde::Deserialize;

use super::TrunkConfig;
use super::fault::Faults;

/// What `max_udp_bytes` may be: no request is shorter, and no datagram longer.
const MAX_UDP_BYTES: std::ops::RangeInclusive<u32> = 200..=65_000;

/// The longest interval between probes, in seconds: what is asked more rarely is as good as not watched.
const MAX_PROBE_S: u32 = 3600;

/// What becomes of requests that would go over UDP and are longer than `max_udp_bytes` (RFC 3261 18.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LargeConfig {
    /// They go over TCP, if the listener has that, and over UDP where it is refused.
    #[default]
    Tcp,
    /// They go over UDP, in fragments.
    Udp,
}

impl TrunkConfig {
    pub(super) fn large(&self) -> Large {
        match self.large {
            LargeConfig::Tcp => Large::Tcp { above: usize::try_from(self.max_udp_bytes).unwrap_or(usize::MAX) },
            LargeConfig::Udp => Large::Udp,
        }
    }

    /// How often its targets are probed, in seconds: by default where there is another one to go to.
    pub(super) fn probe_s(&self) -> u32 {
        self.probe_s.unwrap_or(if self.targets.len() > 1 { 30 } else { 0 })
    }

    pub(super) fn check_hops(&self, faults: &mut Faults, index: usize) {
        let probe_s = self.probe_s();
        if probe_s > MAX_PROBE_S {
            let problem = format!("{probe_s} s is too long to find out anything");
            faults.add(format!("trunks[{index}].probe_s"), problem, format!("use 1 to {MAX_PROBE_S}, or 0 for none"));
        }
        if !MAX_UDP_BYTES.contains(&self.max_udp_bytes) {
            let problem = format!("{} is out of bounds", self.max_udp_bytes);
            let remedy = format!("use {} to {}", MAX_UDP_BYTES.start(), MAX_UDP_BYTES.end());
            faults.add(format!("trunks[{index}].max_udp_bytes"), problem, remedy);
        }
    }
}
