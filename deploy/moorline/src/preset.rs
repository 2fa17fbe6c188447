//! Presets: what is known of a carrier, as data. A trunk with `preset = "aliyun-sip"` has the keys of that file beneath its
//! own. A preset describes the peer at the other end of the trunk: the carrier that we are a customer of is one, that
//! carrier's customer another (`aliyun-sip-customer`), for what one side sends and must not exceed the other takes and
//! bounds.

mod command;
mod merge;
mod show;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

pub(crate) use command::run;
pub(crate) use merge::{Applied, Misuse, apply};

/// A preset: a file of `deploy/presets`.
#[derive(Debug)]
pub(crate) struct Preset {
    /// Its name, which is the file's.
    pub(crate) name: &'static str,
    /// The file: what it is about under `[preset]`, the trunk's keys under `[trunk]`, and those of each region, which
    /// come before them, under `[regions.NAME]`.
    text: &'static str,
}

/// What a preset says of itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    /// One line for `moorline preset list`.
    pub(crate) about: String,
    /// What the trunk must say itself.
    #[serde(default)]
    pub(crate) needs: Vec<Need>,
}

/// A key that only the operator knows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Need {
    /// Keys of the trunk, one of which must be there.
    pub(crate) keys: Vec<String>,
    /// A line of TOML with one of them.
    pub(crate) example: String,
}

macro_rules! presets {
    ($($name:literal),+ $(,)?) => {
        [$(Preset { name: $name, text: include_str!(concat!("../../presets/", $name, ".toml")) }),+]
    };
}

/// Every preset.
pub(crate) static PRESETS: [Preset; 6] =
    presets!["aliyun-sip", "aliyun-sip-customer", "sonetel", "china-telecom-ims", "generic-ip", "generic-register"];

/// The preset of this name.
pub(crate) fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// The names of all, for a remedy.
pub(crate) fn names() -> String {
    PRESETS.each_ref().map(|preset| preset.name).join(", ")
}

impl Preset {
    /// What it says of itself.
    #[expect(clippy::expect_used, reason = "the files are compiled in, and a test reads each")]
    pub(crate) fn head(&self) -> Head {
        #[derive(Deserialize)]
        struct File {
            preset: Head,
        }
        toml::from_str::<File>(self.text).expect("a preset").preset
    }

    /// Its regions, in the order of the alphabet.
    pub(crate) fn regions(&self) -> Vec<String> {
        let root = self.root();
        let regions = table(&root, "regions").map(|regions| regions.keys().map(|key| key.get_ref().to_string()));
        regions.into_iter().flatten().collect()
    }

    /// The keys of a trunk, of a region if it has any.
    fn trunk(&self, region: Option<&str>) -> DeTable<'static> {
        let root = self.root();
        let mut keys = region.and_then(|region| table(table(&root, "regions")?, region).cloned()).unwrap_or_default();
        if let Some(common) = table(&root, "trunk") {
            merge::under(&mut keys, common);
        }
        keys
    }

    /// The same as plain values.
    #[expect(clippy::expect_used, reason = "the files are compiled in, and a test reads each")]
    fn keys(&self, region: Option<&str>) -> toml::Table {
        let keys = Deserializer::from(Spanned::new(0..0, self.trunk(region)));
        toml::Table::deserialize(keys).expect("a preset")
    }

    #[expect(clippy::expect_used, reason = "the files are compiled in, and a test reads each")]
    fn root(&self) -> DeTable<'static> {
        DeTable::parse(self.text).map(Spanned::into_inner).expect("a preset")
    }
}

/// The table at a key.
fn table<'a, 't>(of: &'a DeTable<'t>, name: &str) -> Option<&'a DeTable<'t>> {
    of.get(name).and_then(|value| value.get_ref().as_table())
}

/// The value at a path such as `limits.outbound`.
fn value<'a, 't>(of: &'a DeTable<'t>, path: &str) -> Option<&'a DeValue<'t>> {
    match path.split_once('.') {
        None => of.get(path).map(Spanned::get_ref),
        Some((first, rest)) => value(table(of, first)?, rest),
    }
}

#[cfg(test)]
mod tests;
