//! How the targets of a trunk are watched, as it is written.

use super::TrunkConfig;
use super::fault::Faults;

/// The longest interval between probes, in seconds: what is asked more rarely is as good as not watched.
const MAX_PROBE_S: u32 = 3600;

impl TrunkConfig {
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
    }
}
