//! The bare bypasses of `bench/forwarders`: the least that a relay beside the kernel's stack must do.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use super::lab::{Place, SBC_CARRIER, SBC_CORE, is_there};
use super::system::{Counters, Pair, Setup, System};
use crate::commands::process::{Error, Running, pin, tied};

/// One that relays in the driver (`xdp`), or by AF_XDP sockets (`af_xdp`).
pub(super) struct Bare {
    process: Running,
    capacity: usize,
}

/// As `bench/forwarders/calls.h` has them: a call has one even port, the same on both sides.
const FIRST_PORT: u16 = 20_000;
const MAX_CALLS: u16 = 20_000;

/// What is needed to build them.
pub(super) fn missing() -> Option<&'static str> {
    ["make", "gcc", "clang"].into_iter().find(|tool| !is_there(tool))
}

/// Builds them into a directory.
pub(super) fn build(into: &Path) -> Result<(), Error> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("forwarders");
    let output =
        Command::new("make").arg("--silent").arg("-C").arg(source).arg(format!("OUT={}", into.display())).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("make -C bench/forwarders: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}

impl Bare {
    pub(super) fn start(setup: &Setup, way: &str) -> Result<Bare, Error> {
        let capacity = setup.capacity.min(MAX_CALLS.into());
        pin(setup.relay_core)?;
        let mut command = tied(&setup.forwarders().join("bypass"));
        command.arg(way).arg(capacity.to_string()).args(setup.links.near_sides());
        let name = "bypass";
        let log = setup.directory.join(format!("{name}.log"));
        let mut process = setup.lab.within(Place::Sbc, || Running::start(name, &mut command, &setup.directory))??;
        process.await_ready(|| std::fs::read_to_string(&log).is_ok_and(|text| text.starts_with("ready")))?;
        Ok(Bare { process, capacity: capacity as usize })
    }
}

impl System for Bare {
    fn open(&mut self, _: &Setup, count: usize) -> Result<Vec<Pair>, Error> {
        if count > self.capacity {
            return Err(format!("the bare bypasses have {} calls", self.capacity).into());
        }
        Ok((FIRST_PORT..).step_by(2).take(count).map(|port| (at(SBC_CORE, port), at(SBC_CARRIER, port))).collect())
    }

    fn process(&self) -> Option<&Running> {
        Some(&self.process)
    }

    fn counters(&self, _: &Setup) -> Result<Option<Counters>, Error> {
        Ok(None)
    }

    fn stop(self: Box<Self>, _: &Setup) -> Result<(), Error> {
        self.process.stop()
    }
}

fn at(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(ip), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_those_of_the_c_programs() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("forwarders/calls.h");
        let text = std::fs::read_to_string(source).unwrap();
        assert!(text.contains(&format!("#define FIRST_PORT {FIRST_PORT}\n")));
        assert!(text.contains(&format!("#define MAX_CALLS {MAX_CALLS}\n")));
    }
}
