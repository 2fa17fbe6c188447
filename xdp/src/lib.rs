//! BPF programs, XDP and AF_XDP: what this host offers, and what is loaded into its kernel.
//!
//! [`Lookup`] gives the io_uring datapath one socket for all ports of a shard. [`Forward`] relays established flows in
//! the driver and steers other media to AF_XDP sockets, which [`xsk`] has. [`HostSupport`] says what XDP would find
//! here.
#![deny(unsafe_code)]

pub mod forward;
pub mod lookup;
#[allow(unsafe_code)]
mod mapped;
pub mod xsk;

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::Path;

pub use forward::{Forward, ForwardError};
pub use lookup::{Lookup, LookupError, LookupRange};

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
const CAP_NET_RAW: u32 = 13;
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

/// Effective capabilities, as a bit mask.
#[derive(Debug, Clone, Copy)]
struct Capabilities(u64);

impl Capabilities {
    fn of_this_process() -> Capabilities {
        Capabilities::parse(&fs::read_to_string("/proc/thread-self/status").unwrap_or_default())
    }

    /// Those in a `/proc/PID/status`.
    fn parse(status: &str) -> Capabilities {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        Capabilities(line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0))
    }

    fn has(self, capability: u32) -> bool {
        self.0 & (1 << capability) != 0
    }

    /// `CAP_SYS_ADMIN` includes `CAP_BPF`.
    fn may_use_bpf(self) -> bool {
        self.has(CAP_BPF) || self.has(CAP_SYS_ADMIN)
    }

    /// What is missing to attach the forwarding program.
    fn missing_for_forward(self) -> Vec<&'static str> {
        let needs = [(self.may_use_bpf(), "CAP_BPF"), (self.has(CAP_NET_ADMIN), "CAP_NET_ADMIN")];
        needs.into_iter().filter(|(there, _)| !there).map(|(_, name)| name).collect()
    }

    /// What is missing to attach the lookup program, and to send what it receives.
    fn missing_for_lookup(self) -> Vec<&'static str> {
        let needs = [
            (self.may_use_bpf(), "CAP_BPF"),
            (self.has(CAP_NET_ADMIN), "CAP_NET_ADMIN"),
            (self.has(CAP_NET_RAW), "CAP_NET_RAW"),
        ];
        needs.into_iter().filter(|(there, _)| !there).map(|(_, name)| name).collect()
    }
}

/// What the cause of all causes says, which says the most.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Whether a process may load XDP programs and attach them.
fn may_load(status: &str) -> bool {
    let own = Capabilities::parse(status);
    own.has(CAP_NET_ADMIN) && own.may_use_bpf()
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
    fn what_lookup_lacks_is_named() {
        let missing = |status| Capabilities::parse(status).missing_for_lookup();
        assert!(missing("CapEff:\t0000008000003000\n").is_empty(), "CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW");
        assert!(missing("CapEff:\t0000000000203000\n").is_empty(), "CAP_SYS_ADMIN in place of CAP_BPF");
        assert_eq!(missing("CapEff:\t0000008000001000\n"), ["CAP_NET_RAW"]);
        assert_eq!(missing(""), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW"]);
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
