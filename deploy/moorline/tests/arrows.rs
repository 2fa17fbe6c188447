//! The crate graph is architecture: a dependency edge that is not listed here is a change of it, to be made on
//! purpose.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Who may depend on whom among Moorline's own crates (names without `moorline-`).
const ARROWS: &[(&str, &[&str])] = &[
    ("sip", &[]),
    ("sdp", &[]),
    ("control", &[]),
    ("rtp", &[]),
    ("xdp-abi", &[]),
    ("b2bua", &["sip", "sdp", "control"]),
    ("signaling", &["b2bua", "sip", "sdp", "control"]),
    ("relay", &["rtp", "control"]),
    ("media", &["relay", "rtp", "control", "xdp"]),
    ("xdp", &["xdp-abi"]),
    ("bench", &["sip", "sdp", "b2bua", "rtp", "relay", "control"]),
    ("moorline", &["signaling", "media", "bench", "control"]),
];

/// Crates that may hold `unsafe`; `media` only below `src/datapath`.
const MAY_BE_UNSAFE: [&str; 3] = ["xdp", "xdp-abi", "media"];

/// Names that say nothing about what they hold, and so come to hold everything.
const NO_NAMES: [&str; 5] = ["common", "util", "utils", "helpers", "types"];

fn metadata() -> Metadata {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let locked = ["--locked".to_owned(), "--offline".to_owned()];
    MetadataCommand::new().manifest_path(manifest).no_deps().other_options(locked).exec().expect("cargo metadata")
}

fn short(package: &str) -> &str {
    package.strip_prefix("moorline-").unwrap_or(package)
}

/// Directories with Rust source of a package, and its main source file.
fn main_source(package: &Package) -> String {
    let target = package
        .targets
        .iter()
        .find(|target| target.is_lib())
        .or_else(|| package.targets.iter().find(|target| target.is_bin()));
    let path = &target.expect("a library or an executable").src_path;
    std::fs::read_to_string(path).expect("its source")
}

#[test]
fn dependencies_are_the_listed_arrows() {
    let metadata = metadata();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = metadata.packages.iter().map(|package| short(&package.name)).collect();
    assert_eq!(found, known, "the crates of the workspace are not those of the list");

    for package in &metadata.packages {
        let name = short(&package.name);
        let allowed = ARROWS.iter().find(|(known, _)| *known == name).map(|(_, allowed)| *allowed).expect("listed");
        let own = |dependency: &&cargo_metadata::Dependency| {
            dependency.kind != DependencyKind::Development
                && found.contains(short(&dependency.name))
                && dependency.path.is_some()
        };
        for dependency in package.dependencies.iter().filter(own) {
            let target = short(&dependency.name);
            assert!(allowed.contains(&target), "{name} must not depend on {target}");
        }
    }
}

#[test]
fn tests_too_keep_the_two_processes_apart() {
    for package in metadata().packages {
        let name = short(&package.name).to_owned();
        let names: BTreeSet<String> = package.dependencies.iter().map(|d| short(&d.name).to_owned()).collect();
        if name == "signaling" {
            assert!(!names.contains("media") && !names.contains("relay"), "signaling reaches into media");
        }
        if name == "media" {
            assert!(!names.contains("signaling") && !names.contains("b2bua"), "media reaches into signaling");
        }
        assert!(name == "moorline" || !names.contains("bench"), "{name} depends on the load generators");
    }
}

#[test]
fn unsafe_is_forbidden_where_it_is_not_needed() {
    for package in metadata().packages {
        let name = short(&package.name);
        let source = main_source(&package);
        if MAY_BE_UNSAFE.contains(&name) {
            continue;
        }
        let forbids = source.lines().any(|line| line.starts_with("#![forbid(") && line.contains("unsafe_code"));
        assert!(forbids, "{name} does not forbid unsafe code");
    }
    for package in metadata().packages.iter().filter(|package| short(&package.name) == "media") {
        let root = package.manifest_path.parent().expect("a directory").join("src");
        for path in rust_files(root.as_std_path()) {
            let below_datapath = path.strip_prefix(&root).is_ok_and(|path| path.starts_with("datapath"));
            let text = std::fs::read_to_string(&path).expect("source");
            let code = |line: &&str| !line.trim_start().starts_with("//");
            let holds_unsafe = text
                .lines()
                .filter(code)
                .any(|line| line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl"));
            assert!(below_datapath || !holds_unsafe, "unsafe code in {}", path.display());
        }
    }
}

#[test]
fn names_say_what_is_inside() {
    for package in metadata().packages {
        let name = short(&package.name);
        assert!(!NO_NAMES.contains(&name), "a crate called {name}");
        let root = package.manifest_path.parent().expect("a directory").join("src");
        for path in rust_files(root.as_std_path()) {
            for part in path.strip_prefix(&root).expect("below the root").iter() {
                let part = part.to_str().unwrap_or_default().trim_end_matches(".rs");
                assert!(!NO_NAMES.contains(&part), "a module called {part}: {}", path.display());
            }
        }
    }
}

#[test]
fn every_crate_follows_the_workspace() {
    for package in metadata().packages {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("its manifest");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{} does not take the workspace's lints", package.name);
        assert_eq!(package.license.as_deref(), Some("MIT OR Apache-2.0"), "{}", package.name);
        assert!(package.rust_version.is_some(), "{}", package.name);
    }
}

#[test]
fn sans_io_crates_ban_clocks_and_sockets() {
    for package in metadata().packages {
        let name = short(&package.name);
        if !["sip", "sdp", "b2bua", "relay", "rtp"].contains(&name) {
            continue;
        }
        let path = package.manifest_path.parent().expect("a directory").join("clippy.toml");
        let rules = std::fs::read_to_string(&path).expect("a clippy.toml beside the crate");
        for banned in ["std::time::Instant", "std::time::SystemTime", "std::net::UdpSocket", "std::thread::spawn"] {
            assert!(rules.contains(banned), "{path} does not ban {banned}");
        }
    }
}

fn rust_files(root: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}
