//! The lab's links, made fit for relays that bypass the kernel's stack.

use std::cell::Cell;
use std::path::Path;

use super::lab::{CARRIER, CORE, Lab, SBC_CARRIER, SBC_CORE, shell};
use crate::commands::process::Error;

/// The links, and what was changed of them.
#[derive(Debug)]
pub(super) struct Links {
    /// The process that the devices are named by.
    id: u32,
    relay_core: usize,
    load_core: usize,
    /// Queues of each end.
    queues: u32,
    /// Whether the load's ends fill checksums in.
    has_whole_checksums: Cell<bool>,
}

/// The first bytes of the hardware addresses of a link; the relay's end has 01 for the last, the load's 02.
const CORE_HARDWARE: &str = "02:00:00:00:01";
const CARRIER_HARDWARE: &str = "02:00:00:00:02";

/// Each end's namespace, and what its name begins with.
const ENDS: [(&str, &str); 4] = [("core", "sbc"), ("sbc", "core"), ("carrier", "sbc"), ("sbc", "carrier")];

impl Links {
    /// In the lab's mount namespace. Without a BPF file system nothing is pinned there, and no program outlives the
    /// process that attached it.
    pub(super) fn enter(relay_core: usize, load_core: usize) -> Result<Links, Error> {
        shell("! mountpoint -q /sys/fs/bpf || umount --lazy /sys/fs/bpf")?;
        Ok(Links::new(relay_core, load_core))
    }

    fn new(relay_core: usize, load_core: usize) -> Links {
        Links { id: std::process::id(), relay_core, load_core, queues: 1, has_whole_checksums: Cell::new(false) }
    }

    /// The relay's ends: towards the core, and towards the carrier.
    pub(super) fn interfaces(&self) -> [String; 2] {
        [format!("core{}", self.id), format!("carrier{}", self.id)]
    }

    /// The relay's ends, as the bare bypasses are told of them: the device, the hardware address at its other end, the
    /// relay's address and the load's.
    pub(super) fn near_sides(&self) -> [String; 2] {
        self.sides(|place, id| format!("{place}{id}"), 2)
    }

    /// The load's ends in the same way, with their namespaces.
    pub(super) fn far_sides(&self) -> [String; 2] {
        self.sides(|place, id| format!("{place}/sbc{id}"), 1)
    }

    fn sides(&self, device: impl Fn(&str, u32) -> String, other_end: u8) -> [String; 2] {
        let both = [("core", CORE_HARDWARE, SBC_CORE, CORE), ("carrier", CARRIER_HARDWARE, SBC_CARRIER, CARRIER)];
        both.map(|(place, hardware, relay, load)| {
            let device = device(place, self.id);
            format!("{device},{hardware}:{other_end:02},{relay},{},{}", load.ip(), load.port())
        })
    }

    /// Whether an XDP program is attached to each of the relay's ends.
    pub(super) fn have_programs(&self) -> bool {
        let [core, carrier] = self.interfaces();
        let look = |device| format!("ip netns exec sbc ip -o link show dev {device} | grep -q xdp\n");
        shell(&format!("set -e\n{}{}", look(core), look(carrier))).is_ok()
    }

    /// Has the load's packets bring whole checksums, as those of a network card do. A neighbour on a veth leaves them to
    /// the link, and what bypasses the stack would have to fill them in.
    pub(super) fn whole_checksums(&self, is_wanted: bool) -> Result<(), Error> {
        if self.has_whole_checksums.replace(is_wanted) == is_wanted {
            return Ok(());
        }
        let state = if is_wanted { "off" } else { "on" };
        // Without TSO, or the relay's ends would not receive by NAPI.
        let of = |place| format!("ip netns exec {place} ethtool -K sbc{} tx-checksumming {state} tso off\n", self.id);
        shell(&format!("set -e\n{}{}", of("core"), of("carrier")))
    }

    /// Has the load's ends look for frames by a timer and before all else on the load's core, or as ever: a generator in
    /// the kernel does not yield.
    pub(super) fn far_ends_by_timer(&self, lab: &Lab, is_wanted: bool) -> Result<(), Error> {
        let (flush_ns, polls) = if is_wanted { (100_000, 1_000_000) } else { (0, 0) };
        let mut script = String::from("set -e\n");
        for place in ["core", "carrier"] {
            script += &format!(
                "ip netns exec {place} sh -c 'cd /sys/class/net/sbc{}; echo {flush_ns} > gro_flush_timeout; \
                 echo {polls} > napi_defer_hard_irqs'\n",
                self.id
            );
        }
        for id in &lab.load_kthreads {
            script += &if is_wanted { format!("chrt --fifo --pid 1 {id}\n") } else { patient(*id) };
        }
        shell(&script)
    }

    /// The cores of the queues of the relay's ends, in their order.
    pub(super) fn queue_cores(&self) -> Vec<usize> {
        [self.relay_core, self.load_core].into_iter().take(self.queues as usize).collect()
    }

    /// Gives each end of the links that many queues, one or two: the relay's second ones are the load core's.
    pub(super) fn set_queues(&mut self, lab: &mut Lab, queues: u32) -> Result<(), Error> {
        let id = self.id;
        let end = |(place, device)| format!("ip netns exec {place} ethtool -L {device}{id} rx {queues} tx {queues}\n");
        // Refused for what is so already.
        if self.queues != queues {
            shell(&format!("set -e\n{}", ENDS.map(end).concat()))?;
        }
        self.queues = queues;
        lab.relay_kthreads = threads_named(&format!("ksoftirqd/{}", self.relay_core))?;
        for device in self.interfaces() {
            let threads = threads_named(&format!("napi/{device}-"))?;
            for (thread, core) in threads.iter().zip(self.queue_cores()) {
                shell(&format!("taskset -pc {core} {thread} > /dev/null"))?;
            }
            lab.relay_kthreads.extend(threads);
        }
        lab.load_kthreads = threads_named(&format!("napi/sbc{id}-"))?;
        for thread in &lab.load_kthreads {
            shell(&format!("taskset -pc {} {thread} > /dev/null\n{}", self.load_core, patient(*thread)))?;
        }
        Ok(())
    }
}

/// The command that has a thread wait until the load yields, as the lab has it.
fn patient(id: u32) -> String {
    format!("chrt --batch --pid 0 {id} && renice -n -20 -p {id} > /dev/null\n")
}

/// The threads whose names begin so, the oldest first: those of a device's queues in their order.
fn threads_named(beginning: &str) -> Result<Vec<u32>, Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let id = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
        found.extend(id.filter(|_| name_of(&path).starts_with(beginning)));
    }
    found.sort_unstable();
    Ok(found)
}

/// Empty for one that has ended meanwhile.
fn name_of(process: &Path) -> String {
    std::fs::read_to_string(process.join("comm")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_told_as_the_c_programs_read_them() {
        let links = Links { id: 7, ..Links::new(0, 1) };
        assert_eq!(links.near_sides()[0], "core7,02:00:00:00:01:02,192.0.2.1,198.18.1.10,40000");
        assert_eq!(links.far_sides()[1], "carrier/sbc7,02:00:00:00:02:01,198.51.100.1,198.18.2.20,40000");
    }

    #[test]
    fn queues_are_served_by_cores_of_their_own() {
        let one = Links::new(3, 5);
        assert_eq!(one.queue_cores(), [3]);
        assert_eq!(Links { queues: 2, ..one }.queue_cores(), [3, 5]);
    }

    #[test]
    fn threads_are_found_by_name() {
        let own = name_of(Path::new("/proc/self"));
        assert!(threads_named(own.trim()).unwrap().contains(&std::process::id()));
    }
}
