//! Links and tables that outlive the process: files on a BPF filesystem.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use aya::maps::{Array, Map, MapData};
use aya::programs::links::{FdLink, PinnedLink};
use moorline_xdp_abi::forward::{Flow, Lease, MAX_HOPS, Port, VERSION};
use nix::sys::statfs::statfs;
use nix::unistd::geteuid;

use super::error::{ForwardError, pin};
use super::interfaces::carrier;
use super::{Words, monotonic_ns, other};
use crate::mapped::Mapped;

/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS: i64 = 0xcafe_4a11;

/// How long the end of a link is waited for.
const RELEASE_NS: u64 = 1_000_000_000;

/// The tables that are pinned, all but those that hold only what lives with the process.
pub(super) const MAPS: [&str; 9] = [
    "moor_ranges",
    "moor_slots",
    "moor_flows",
    "moor_hops",
    "moor_lease",
    "moor_interfaces",
    "moor_devices",
    "moor_xsks",
    "moor_counts",
];

/// The folder of one instance.
pub(super) struct Pins {
    path: PathBuf,
    /// Locked while the process lives: whoever sees the same files finds the lock.
    _folder: File,
}

/// What a process wants of tables that it finds.
pub(super) struct Wanted<'a> {
    pub(super) ranges: &'a [Words],
    pub(super) entries: u32,
    pub(super) flows: u32,
    /// Index and slot of each interface.
    pub(super) interfaces: &'a [(u32, u32)],
}

/// Ends what a former process left pinned here for these interfaces, unless its successor has it: where flows are no
/// longer to be relayed, nobody else would. True if there was something.
pub fn clear(interfaces: &[String], path: &Path) -> bool {
    if !path.exists() {
        return false;
    }
    let Ok(Ok(pins)) = Pins::open(path) else { return false };
    pins.remove();
    // The kernel lets go of a link some milliseconds after its file is gone.
    let until = monotonic_ns() + RELEASE_NS;
    let is_attached = |name: &String| carrier(name).is_ok_and(|own| other::id(own.index).is_some());
    while interfaces.iter().any(is_attached) && monotonic_ns() < until {
        sleep(Duration::from_millis(5));
    }
    true
}

impl Pins {
    /// Opens the folder, made where it is not there. The inner error says why nothing can be pinned here; the outer one
    /// that it is another's.
    pub(super) fn open(path: &Path) -> Result<Result<Pins, String>, ForwardError> {
        let there = path.ancestors().find(|folder| folder.exists()).unwrap_or(path);
        match statfs(there) {
            Ok(stat) if stat.filesystem_type().0 == BPF_FS => {}
            Ok(_) => return Ok(Err(format!("{} is on no BPF filesystem", path.display()))),
            Err(error) => return Ok(Err(format!("{}: {error}", there.display()))),
        }
        // For this user only: who may write here may put tables of his own in place of ours.
        let opened = DirBuilder::new().recursive(true).mode(0o700).create(path).and_then(|()| File::open(path));
        let folder = match opened {
            Ok(folder) => folder,
            Err(error) => return Ok(Err(format!("{}: {error}", path.display()))),
        };
        match folder.metadata() {
            Ok(own) if own.uid() == geteuid().as_raw() && own.mode() & 0o022 == 0 => {}
            Ok(_) => return Ok(Err(format!("{} can be written by others", path.display()))),
            Err(error) => return Ok(Err(format!("{}: {error}", path.display()))),
        }
        let pins = match folder.try_lock() {
            Ok(()) => Pins { path: path.to_path_buf(), _folder: folder },
            Err(TryLockError::WouldBlock) => {
                let pid = lease(path).map_or(0, |lease| lease.pid);
                return Err(ForwardError::PinTaken { path: path.to_path_buf(), pid });
            }
            Err(TryLockError::Error(error)) => return Ok(Err(format!("{}: {error}", path.display()))),
        };
        Ok(Ok(pins))
    }

    /// Where a table is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where the link to an interface is pinned.
    pub(super) fn link(&self, index: u32) -> PathBuf {
        self.path.join(format!("link_{index}"))
    }

    /// Whether all tables are there as they are wanted; if not, what there is of them is removed.
    pub(super) fn agree(&self, wanted: &Wanted<'_>) -> bool {
        let agree = self.find(wanted).is_some();
        if !agree {
            MAPS.iter().for_each(|name| {
                let _ = fs::remove_file(self.map(name));
            });
        }
        agree
    }

    fn find(&self, wanted: &Wanted<'_>) -> Option<()> {
        let whole = |name: &str, value: usize, entries: u32| {
            let info = MapData::from_pin(self.map(name)).ok()?.info().ok()?;
            (info.value_size() == value as u32 && info.max_entries() == entries).then_some(())
        };
        (lease(&self.path)?.version == VERSION).then_some(())?;
        whole("moor_slots", size_of::<Port>(), wanted.entries)?;
        whole("moor_flows", size_of::<Flow>(), wanted.flows)?;
        whole("moor_hops", 32, MAX_HOPS as u32)?;
        for name in MAPS {
            MapData::from_pin(self.map(name)).ok()?;
        }
        let ranges: Array<_, Words> = Map::Array(MapData::from_pin(self.map("moor_ranges")).ok()?).try_into().ok()?;
        for index in 0..ranges.len() {
            let words = wanted.ranges.get(index as usize).copied().unwrap_or_default();
            (ranges.get(&index, 0).ok()? == words).then_some(())?;
        }
        let interfaces = MapData::from_pin(self.map("moor_interfaces")).ok()?;
        let rows =
            super::interfaces::Table::new(Mapped::new(super::borrow(&interfaces), super::TABLE_BYTES).ok()?).rows();
        let mut found: Vec<(u32, u32)> = rows.into_iter().map(|(index, slot, _)| (index, slot)).collect();
        found.sort_unstable();
        let mut own = wanted.interfaces.to_vec();
        own.sort_unstable();
        (found == own).then_some(())
    }

    /// The link to an interface that a former process left, with its file.
    pub(super) fn take_link(&self, index: u32) -> Option<FdLink> {
        Some(PinnedLink::from_pin(self.link(index)).ok()?.into())
    }

    /// Removes the file of a link, which ends it when nobody holds it any more.
    pub(super) fn forget_link(&self, index: u32) {
        let _ = fs::remove_file(self.link(index));
    }

    /// Pins a link.
    pub(super) fn keep_link(&self, index: u32, link: FdLink) -> Result<FdLink, ForwardError> {
        let path = self.link(index);
        Ok(link.pin(&path).map_err(pin(path))?.into())
    }

    /// Removes the links to all interfaces but these.
    pub(super) fn keep_links(&self, interfaces: &[(u32, u32)]) {
        let names = fs::read_dir(&self.path).into_iter().flatten().flatten().map(|file| file.file_name());
        for name in names {
            let index = name.to_str().and_then(|name| name.strip_prefix("link_")?.parse().ok());
            if let Some(index) = index.filter(|index| !interfaces.iter().any(|(own, _)| own == index)) {
                self.forget_link(index);
            }
        }
    }

    /// Removes all files, and the folder.
    pub(super) fn remove(self) {
        self.keep_links(&[]);
        MAPS.iter().for_each(|name| {
            let _ = fs::remove_file(self.map(name));
        });
        let _ = fs::remove_dir(&self.path);
    }
}

/// The lease in a folder.
fn lease(path: &Path) -> Option<Lease> {
    let map = MapData::from_pin(path.join("moor_lease")).ok()?;
    let memory = Mapped::new(super::borrow(&map), size_of::<Lease>()).ok()?;
    Some(Lease {
        version: memory.u32_at(0),
        pid: memory.u32_at(4),
        beat: memory.u64_at(8),
        second: memory.u64_at(16),
        ..Lease::default()
    })
}
