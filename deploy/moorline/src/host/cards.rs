//! The network cards that media comes in by: their queues, interrupts and memory node, as /sys and /proc tell.

use std::collections::BTreeSet;
use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

/// A network card.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Card {
    pub(super) name: String,
    pub(super) receive_queues: usize,
    pub(super) transmit_queues: usize,
    /// The interrupts of the receive queues, in the queues' order.
    pub(super) interrupts: Vec<Interrupt>,
    /// The cores of the memory node that it is attached to; `None` where the machine has one node.
    pub(super) near: Option<BTreeSet<usize>>,
    /// The kernel receives in threads of their own (`/sys/class/net/IF/threaded`).
    pub(super) threaded: bool,
}

/// The interrupt of a queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Interrupt {
    pub(super) number: u32,
    /// The cores that it may come to.
    pub(super) cores: BTreeSet<usize>,
}

impl Card {
    /// Reads what `root` (`/`, or a test's directory) says of an interface; `None` if no card is behind it.
    pub(super) fn read(root: &Path, name: &str) -> Option<Card> {
        let path = root.join("sys/class/net").join(name);
        // Bridges, VLANs, loopback and the like have no device, and no queues of their own.
        let device = path.join("device");
        device.exists().then(|| Card {
            name: name.to_owned(),
            receive_queues: queues(&path, "rx-"),
            transmit_queues: queues(&path, "tx-"),
            interrupts: interrupts(root, name, &device),
            near: near(root, &device),
            threaded: text(&path.join("threaded")).as_deref() == Some("1"),
        })
    }
}

fn queues(path: &Path, kind: &str) -> usize {
    names(&path.join("queues")).iter().filter(|name| name.starts_with(kind)).count()
}

/// The card's message-signalled interrupts whose name says that they are of a receive queue.
fn interrupts(root: &Path, name: &str, device: &Path) -> Vec<Interrupt> {
    // A virtio card's interrupts belong to the PCI device that it sits on.
    let own = [device.join("msi_irqs"), device.join("../msi_irqs")].iter().map(names).find(|n| !n.is_empty());
    let own: BTreeSet<u32> = own.unwrap_or_default().iter().filter_map(|number| number.parse().ok()).collect();
    let table = text(&root.join("proc/interrupts")).unwrap_or_default();
    let mut found: Vec<(usize, u32)> = Vec::new();
    for line in table.lines() {
        let Some((number, rest)) = line.split_once(':') else { continue };
        let (Ok(number), Some(label)) = (number.trim().parse::<u32>(), rest.split_whitespace().last()) else {
            continue;
        };
        if (own.contains(&number) || label.contains(name)) && is_receive(label) {
            found.push((queue_of(label), number));
        }
    }
    found.sort_unstable();
    let cores = |number: u32| {
        let path = root.join(format!("proc/irq/{number}"));
        let list = text(&path.join("effective_affinity_list")).filter(|list| !list.is_empty());
        core_list(&list.or_else(|| text(&path.join("smp_affinity_list"))).unwrap_or_default())
    };
    found.into_iter().map(|(_, number)| Interrupt { number, cores: cores(number) }).collect()
}

/// What drivers call them: `eth0-TxRx-3`, `eth0-rx-3`, `virtio2-input.3`, `mlx5_comp3@pci:...`, `ena-eth0-Tx-Rx-3`,
/// `i40e-eth0-TxRx-3`; and what is not: `virtio2-output.3`, `virtio2-config`, `mlx5_async@pci:...`, `eth0-tx-3`.
fn is_receive(label: &str) -> bool {
    let label = label.to_ascii_lowercase();
    ["rx", "input", "comp"].iter().any(|word| label.contains(word))
}

/// The number of the queue in an interrupt's label: the last one before any `@`.
fn queue_of(label: &str) -> usize {
    let label = label.split('@').next().unwrap_or_default();
    let digits = label.len() - label.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    label.get(label.len() - digits..).and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn near(root: &Path, device: &Path) -> Option<BTreeSet<usize>> {
    let nodes = root.join("sys/devices/system/node");
    let count = names(&nodes).iter().filter(|name| name.trim_start_matches("node").parse::<usize>().is_ok()).count();
    let node: usize = text(&device.join("numa_node"))?.parse().ok()?;
    let list = text(&nodes.join(format!("node{node}/cpulist")))?;
    (count > 1).then(|| core_list(&list))
}

/// A list of cores as the kernel writes it: `0-3,8`.
pub(super) fn core_list(list: &str) -> BTreeSet<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse::<usize>().ok()?.min(4095))
    };
    list.split(',').filter_map(range).flatten().collect()
}

pub(super) fn text(path: &Path) -> Option<String> {
    read_to_string(path).ok().map(|text| text.trim().to_owned())
}

pub(super) fn names(path: &PathBuf) -> Vec<String> {
    let entries = read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
