//! The announcements that there are: resident, in both laws of G.711, and shared by all shards.

/// Announcements by name. Made once, at the start.
#[derive(Debug, Default)]
pub struct Announcements(Vec<Announcement>);

/// Speech that can be played, one octet for each of 8,000 samples a second.
#[derive(Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The name that it is asked for by.
    pub name: String,
    /// By the A-law.
    pub pcma: Box<[u8]>,
    /// By the µ-law: as many octets.
    pub pcmu: Box<[u8]>,
}

impl Announcements {
    /// These, of which each has another name.
    pub fn new(announcements: Vec<Announcement>) -> Announcements {
        Announcements(announcements)
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Announcement> {
        self.0.iter()
    }

    /// The place of the one with this name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|announcement| announcement.name == name)
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Announcement> {
        self.0.get(place)
    }
}

impl Announcement {
    /// As clients are told of it.
    pub fn told(&self) -> moorline_control::Announcement {
        moorline_control::Announcement { name: self.name.clone(), length_ms: self.length_ms() }
    }

    /// How long it is, in milliseconds.
    pub fn length_ms(&self) -> u32 {
        u32::try_from(self.pcma.len() / 8).unwrap_or(u32::MAX)
    }
}

impl std::fmt::Debug for Announcement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} ({} ms)", self.name, self.length_ms())
    }
}
