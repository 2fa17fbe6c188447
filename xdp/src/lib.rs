//! XDP and AF_XDP: what this host offers for kernel-bypass datapaths.
//!
//! No datapath uses XDP yet; [`HostSupport`] says what one would find here.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs;
use std::path::Path;

pub use moorline_xdp_abi::FlowKey;

/// What an XDP datapath needs of the host, as far as it can be seen without trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostSupport {
    /// The kernel publishes its type information, which programs are checked and relocated against.
    pub btf: bool,
    /// The kernel compiles programs to machine code.
    pub jit: bool,
    /// This process may load programs and attach them to interfaces: `CAP_BPF` and `CAP_NET_ADMIN`.
    pub may_load: bool,
    /// The kernel has AF_XDP sockets.
    pub af_xdp: bool,
}

// Bit numbers of linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

impl HostSupport {
    /// Looks at `/proc` and `/sys`; changes nothing.
    pub fn probe() -> HostSupport {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let protocols = fs::read_to_string("/proc/net/protocols").unwrap_or_default();
        let jit = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").unwrap_or_default();
        HostSupport {
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            jit: matches!(jit.trim(), "1" | "2"),
            may_load: may_load(&status),
            af_xdp: protocols.lines().any(|line| line.split_whitespace().next() == Some("XDP")),
        }
    }

    /// True if nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.missing().next().is_none()
    }

    /// What is missing, in words.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> + use<> {
        let needs = [
            (self.btf, "kernel type information (CONFIG_DEBUG_INFO_BTF)"),
            (self.jit, "the BPF compiler (sysctl net.core.bpf_jit_enable)"),
            (self.may_load, "CAP_BPF and CAP_NET_ADMIN"),
            (self.af_xdp, "AF_XDP sockets (CONFIG_XDP_SOCKETS)"),
        ];
        needs.into_iter().filter(|(there, _)| !there).map(|(_, what)| what)
    }
}

impl fmt::Display for HostSupport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            return f.write_str("XDP possible");
        }
        f.write_str("XDP not possible, missing: ")?;
        for (index, what) in self.missing().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            f.write_str(what)?;
        }
        Ok(())
    }
}

/// Whether the effective capabilities in a `/proc/PID/status` suffice; `CAP_SYS_ADMIN` includes `CAP_BPF`.
fn may_load(status: &str) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let has = |capability: u32| effective & (1 << capability) != 0;
    has(CAP_NET_ADMIN) && (has(CAP_BPF) || has(CAP_SYS_ADMIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_process_status() {
        assert!(may_load("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(may_load("CapEff:\t0000008000001000\n"), "CAP_BPF and CAP_NET_ADMIN");
        assert!(may_load("CapEff:\t0000000000201000\n"), "CAP_SYS_ADMIN and CAP_NET_ADMIN");
        assert!(!may_load("CapEff:\t0000008000000000\n"), "CAP_BPF alone");
        assert!(!may_load("CapEff:\t0000000000000000\n"));
        assert!(!may_load("CapEff:\tnonsense\n"));
        assert!(!may_load(""));
    }

    #[test]
    fn the_words_name_exactly_what_is_missing() {
        let all = HostSupport { btf: true, jit: true, may_load: true, af_xdp: true };
        assert!(all.is_complete());
        assert_eq!(all.to_string(), "XDP possible");
        let some = HostSupport { btf: false, may_load: false, ..all };
        assert_eq!(some.missing().count(), 2);
        let text = some.to_string();
        assert!(text.contains("BTF") && text.contains("CAP_BPF") && !text.contains("AF_XDP"), "{text}");
    }

    #[test]
    fn a_probe_agrees_with_the_files_that_it_reads() {
        assert_eq!(HostSupport::probe().btf, Path::new("/sys/kernel/btf/vmlinux").exists());
    }
}
