//! Announcements, as they are found at the start: the built-in ones, and those in the operator's directory.
//!
//! All are read once, checked, brought into both laws of G.711 and kept in memory. What is wrong with a file keeps the
//! process from starting: a caller who is to hear why it is refused should not hear silence.

mod builtin;
mod g711;
mod wav;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use moorline_control::MAX_ANNOUNCEMENTS;
use moorline_relay::{Announcement, Announcements};

pub use self::wav::WavError;

/// The longest name of an announcement, in bytes.
const MAX_NAME: usize = 64;
/// The longest announcement: two minutes.
const MAX_SAMPLES: usize = 120 * 8_000;
/// The largest file: that long as 16-bit PCM, with room for what else a WAV file may say.
const MAX_FILE: u64 = 2 * MAX_SAMPLES as u64 + 64 * 1024;
/// The most entries of the directory that are looked at.
const MAX_ENTRIES: usize = 1024;

/// An announcement that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncementSource {
    /// The name that refusals give it.
    pub name: String,
    /// The file it was read from; `None` for a built-in one.
    pub file: Option<PathBuf>,
    /// How long it is, in milliseconds.
    pub length_ms: u32,
}

/// Why announcements cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AnnouncementError {
    /// The directory or a file in it cannot be read.
    #[error("{path}: {error}; make it readable for the media process, or leave `media.announcements` out")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The name of a file is none that an announcement can have.
    #[error("{0}: the name of an announcement is of 1 to {MAX_NAME} letters, digits, \"-\", \"_\" and \".\"")]
    Name(PathBuf),
    /// A file is of no kind that can be played.
    #[error("{0}: not an announcement: .wav, .al (A-law) and .ul (µ-law) are")]
    Kind(PathBuf),
    /// A WAV file cannot be played.
    #[error("{path}: {error}; `sox IN -r 8000 -c 1 -b 16 OUT.wav` makes one of another")]
    Wav {
        /// Which.
        path: PathBuf,
        /// Why.
        error: WavError,
    },
    /// A file has no sound, or more than two minutes of it.
    #[error("{path}: {samples} samples; an announcement has 1 to {MAX_SAMPLES}, two minutes")]
    Length {
        /// Which.
        path: PathBuf,
        /// How many samples it has.
        samples: usize,
    },
    /// Two files have the same name but for their kind.
    #[error("{0} and {1} are announcements of the same name: remove one")]
    Twice(PathBuf, PathBuf),
    /// There are more files than can be announcements.
    #[error("{path}: more than {MAX_ANNOUNCEMENTS} announcements, the built-in ones included")]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
}

/// An announcement with its octets.
struct Loaded {
    file: Option<PathBuf>,
    pcma: Vec<u8>,
    pcmu: Vec<u8>,
}

/// The announcements that there would be, by name.
///
/// # Errors
/// The first file that cannot be played.
pub fn announcements(directory: Option<&Path>) -> Result<Vec<AnnouncementSource>, AnnouncementError> {
    let loaded = load(directory)?.into_iter();
    let length_ms = |loaded: &Loaded| u32::try_from(loaded.pcma.len() / 8).unwrap_or(u32::MAX);
    Ok(loaded
        .map(|(name, loaded)| AnnouncementSource { length_ms: length_ms(&loaded), name, file: loaded.file })
        .collect())
}

/// The same, to play.
pub(crate) fn library(directory: Option<&Path>) -> Result<Announcements, AnnouncementError> {
    let loaded = load(directory)?.into_iter();
    let announcement = |(name, loaded): (String, Loaded)| Announcement {
        name,
        pcma: loaded.pcma.into_boxed_slice(),
        pcmu: loaded.pcmu.into_boxed_slice(),
    };
    Ok(Announcements::new(loaded.map(announcement).collect()))
}

fn load(directory: Option<&Path>) -> Result<BTreeMap<String, Loaded>, AnnouncementError> {
    let mut all: BTreeMap<String, Loaded> =
        builtin::ALL.iter().map(|(name, pcma)| ((*name).to_owned(), of_pcma(None, pcma.to_vec()))).collect();
    let Some(directory) = directory else { return Ok(all) };
    let unreadable = |path: &Path, error| AnnouncementError::Io { path: path.to_owned(), error };
    let entries = fs::read_dir(directory).map_err(|error| unreadable(directory, error))?;
    let mut files = Vec::new();
    for entry in entries.take(MAX_ENTRIES) {
        let path = entry.map_err(|error| unreadable(directory, error))?.path();
        // Editors and package managers leave files with a dot in front.
        if !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            files.push(path);
        }
    }
    files.sort_unstable();
    for path in files {
        let name = name_of(&path)?;
        let loaded = read(&path)?;
        let before = all.insert(name, loaded);
        if let Some(other) = before.and_then(|before| before.file) {
            return Err(AnnouncementError::Twice(other, path));
        }
        if all.len() > MAX_ANNOUNCEMENTS {
            return Err(AnnouncementError::TooMany { path: directory.to_owned() });
        }
    }
    Ok(all)
}

/// The name of the announcement in a file.
fn name_of(path: &Path) -> Result<String, AnnouncementError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = path.file_stem().and_then(|stem| stem.to_str());
    let name = name.filter(|name| (1..=MAX_NAME).contains(&name.len()) && name.chars().all(allowed));
    name.map(ToOwned::to_owned).ok_or_else(|| AnnouncementError::Name(path.to_owned()))
}

fn read(path: &Path) -> Result<Loaded, AnnouncementError> {
    let unreadable = |error| AnnouncementError::Io { path: path.to_owned(), error };
    let kind = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if !matches!(kind, "wav" | "al" | "ul") || !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(AnnouncementError::Kind(path.to_owned()));
    }
    let mut bytes = Vec::new();
    // One byte more tells a file that is too large.
    fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    let file = Some(path.to_owned());
    let loaded = match kind {
        "al" => of_pcma(file, bytes),
        "ul" => of_pcmu(file, bytes),
        _ => match wav::read(&bytes).map_err(|error| AnnouncementError::Wav { path: path.to_owned(), error })? {
            wav::Sound::Pcma(octets) => of_pcma(file, octets.to_vec()),
            wav::Sound::Pcmu(octets) => of_pcmu(file, octets.to_vec()),
            wav::Sound::Linear(samples) => Loaded {
                file,
                pcma: samples.iter().map(|sample| g711::to_pcma(*sample)).collect(),
                pcmu: samples.iter().map(|sample| g711::to_pcmu(*sample)).collect(),
            },
        },
    };
    let samples = loaded.pcma.len();
    if samples == 0 || samples > MAX_SAMPLES {
        return Err(AnnouncementError::Length { path: path.to_owned(), samples });
    }
    Ok(loaded)
}

fn of_pcma(file: Option<PathBuf>, pcma: Vec<u8>) -> Loaded {
    let pcmu = pcma.iter().map(|octet| g711::to_pcmu(g711::of_pcma(*octet))).collect();
    Loaded { file, pcma, pcmu }
}

fn of_pcmu(file: Option<PathBuf>, pcmu: Vec<u8>) -> Loaded {
    let pcma = pcmu.iter().map(|octet| g711::to_pcma(g711::of_pcmu(*octet))).collect();
    Loaded { file, pcma, pcmu }
}

#[cfg(test)]
mod tests;
