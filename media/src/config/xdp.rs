//! What XDP does on the media interfaces.

use serde::Deserialize;

/// Media interfaces, and how AF_XDP uses them. For `datapath = "af_xdp"`, and for `"auto"` where interfaces are named.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Xdp {
    /// The interfaces that media comes and goes by, such as `["eth0", "eth1"]`. Those of VLANs are named by the
    /// interface below. Empty means those that ranges name.
    pub interfaces: Vec<String>,
    /// Whether network cards write packets into the process's memory themselves.
    pub zero_copy: ZeroCopy,
    /// How many packets of each receive queue there is memory for, 2 KiB each; a power of two from 256 to 32768. A
    /// half of them can wait for a shard that is late: the default of 4096 holds 40 ms of 50,000 packets/s.
    pub frames_per_queue: u32,
}

/// Whether network cards write packets into the process's memory themselves, which saves a copy. Not all drivers can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroCopy {
    /// Where the driver can; elsewhere the kernel copies.
    Prefer,
    /// Or the start fails.
    Require,
    /// The kernel copies: for a driver whose zero-copy fails.
    Never,
}

impl Default for Xdp {
    fn default() -> Xdp {
        Xdp { interfaces: Vec::new(), zero_copy: ZeroCopy::Prefer, frames_per_queue: 4096 }
    }
}
