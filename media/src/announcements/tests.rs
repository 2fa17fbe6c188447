//! What is read of files, and what is said of those that cannot be played.

use std::fs;
use std::path::Path;

use super::*;

/// A WAV file of this format, rate and number of channels.
fn wav(tag: u16, bits: u16, rate: u32, channels: u16, data: &[u8]) -> Vec<u8> {
    let mut format = Vec::new();
    format.extend(tag.to_le_bytes());
    format.extend(channels.to_le_bytes());
    format.extend(rate.to_le_bytes());
    format.extend((rate * u32::from(channels) * u32::from(bits) / 8).to_le_bytes());
    format.extend((channels * bits / 8).to_le_bytes());
    format.extend(bits.to_le_bytes());
    let mut bytes = b"RIFF\0\0\0\0WAVE".to_vec();
    // A chunk that nobody reads, of odd length.
    for (name, chunk) in [(b"LIST", &b"abc\0"[..3]), (b"fmt ", &format), (b"data", data)] {
        bytes.extend(name);
        bytes.extend((chunk.len() as u32).to_le_bytes());
        bytes.extend(chunk);
        bytes.resize(bytes.len().next_multiple_of(2), 0);
    }
    bytes
}

fn in_directory(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Result<Announcements, AnnouncementError>) {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    let library = library(Some(directory.path()));
    (directory, library)
}

#[track_caller]
fn fault(name: &str, bytes: &[u8]) -> String {
    let (directory, library) = in_directory(&[(name, bytes)]);
    let said = library.unwrap_err().to_string();
    let path = directory.path().join(name);
    assert!(said.starts_with(&format!("{}: ", path.display())), "{said}");
    said
}

fn found<'a>(library: &'a Announcements, name: &str) -> &'a Announcement {
    library.iter().find(|announcement| announcement.name == name).unwrap()
}

#[test]
fn the_built_in_ones_are_short_speech_by_both_laws() {
    let all = library(None).unwrap();
    for name in ["call-restricted", "suspended-for-arrears", "no-line", "call-restricted-zh"] {
        found(&all, name);
    }
    for announcement in all.iter() {
        assert!((1_000..=5_000).contains(&announcement.length_ms()), "{announcement:?}");
        assert_eq!(announcement.pcma.len(), announcement.pcmu.len());
        let loudest = announcement.pcma.iter().map(|octet| g711::of_pcma(*octet).unsigned_abs()).max().unwrap();
        assert!(loudest > 8_000, "{announcement:?} is not silent");
    }
    let list = announcements(None).unwrap();
    assert_eq!(list.len(), all.iter().len());
    assert!(list.iter().all(|found| found.file.is_none()));
}

#[test]
fn a_file_of_the_directory_takes_the_place_of_a_built_in_one() {
    let (directory, library) = in_directory(&[("no-line.al", &[0xd5; 800]), ("own.ul", &[0x80; 1600]), (".x", b"")]);
    let library = library.unwrap();
    assert_eq!(found(&library, "no-line").pcma[..], [0xd5; 800]);
    assert_eq!(found(&library, "own").pcmu[..], [0x80; 1600]);
    assert_eq!(found(&library, "own").pcma[0], g711::to_pcma(32_124));
    let list = announcements(Some(directory.path())).unwrap();
    let own = list.iter().find(|found| found.name == "own").unwrap();
    assert_eq!((own.length_ms, own.file.as_deref()), (200, Some(&*directory.path().join("own.ul"))));
    assert_eq!(list.len(), builtin::ALL.len() + 1);
}

#[test]
fn wav_files_are_read_in_every_format_that_is_played() {
    let linear: Vec<u8> = [0i16, 1_000, -32_768].iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let (_directory, library) = in_directory(&[
        ("linear.wav", &wav(1, 16, 8_000, 1, &linear)),
        ("a.wav", &wav(6, 8, 8_000, 1, b"\x2a\xaa")),
        ("u.wav", &wav(7, 8, 8_000, 1, b"\x00\x80")),
    ]);
    let library = library.unwrap();
    let expected = [0i16, 1_000, -32_768];
    assert_eq!(found(&library, "linear").pcma[..], expected.map(g711::to_pcma));
    assert_eq!(found(&library, "linear").pcmu[..], expected.map(g711::to_pcmu));
    assert_eq!(found(&library, "a").pcma[..], *b"\x2a\xaa");
    assert_eq!(found(&library, "u").pcmu[..], *b"\x00\x80");
}

#[test]
fn what_cannot_be_played_is_named_with_what_is_wrong() {
    assert!(fault("a.wav", b"RIFX").contains("not a WAV file"));
    assert!(fault("a.wav", &wav(1, 16, 16_000, 1, b"1234")).contains("16000 samples a second"));
    assert!(fault("a.wav", &wav(1, 16, 8_000, 2, b"1234")).contains("2 channels"));
    assert!(fault("a.wav", &wav(1, 8, 8_000, 1, b"1234")).contains("format 1 with 8 bits"));
    assert!(fault("a.wav", &wav(85, 16, 8_000, 1, b"1234")).contains("format 85"));
    assert!(fault("a.wav", &wav(1, 16, 8_000, 1, b"")).contains("0 samples"));
    assert!(fault("a.al", b"").contains("0 samples"));
    assert!(fault("a.al", &vec![0; MAX_SAMPLES + 1]).contains("two minutes"));
    assert!(fault("a.al", &vec![0; MAX_FILE as usize + 9]).contains("two minutes"));
    assert!(fault("a.mp3", b"ID3").contains(".wav, .al"));
    assert!(fault("a b.al", b"1").contains("the name of an announcement"));
    let (_directory, twice) = in_directory(&[("a.al", b"1"), ("a.ul", b"1")]);
    assert!(twice.unwrap_err().to_string().contains("a.al and "));
    let (directory, _) = in_directory(&[]);
    fs::create_dir(directory.path().join("a.al")).unwrap();
    assert!(library(Some(directory.path())).unwrap_err().to_string().contains("not an announcement"));
    let many: Vec<String> = (0..MAX_ANNOUNCEMENTS).map(|n| format!("{n}.al")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b"1"[..])).collect();
    assert!(in_directory(&many).1.unwrap_err().to_string().contains("more than 64"));
    let absent = library(Some(Path::new("/nonexistent/announcements"))).unwrap_err().to_string();
    assert!(absent.contains("/nonexistent/announcements") && absent.contains("media.announcements"), "{absent}");
}

#[test]
fn a_wav_file_that_is_cut_or_damaged_anywhere_is_no_panic() {
    let whole = wav(1, 16, 8_000, 1, &[7; 100]);
    for length in 0..whole.len() {
        assert!(wav::read(&whole[..length]).is_err(), "cut at {length}");
    }
    for at in 0..whole.len() {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            if let Ok(wav::Sound::Linear(samples)) = wav::read(&damaged) {
                assert!(samples.len() <= 60);
            }
        }
    }
}
