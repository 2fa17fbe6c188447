//! From `preset = "..."` to the keys: a trunk's own stand over the preset's, key by key.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::{find, names, value};

/// A preset of a trunk. Its keys have places behind the end of the configuration's text, each trunk's of their own, by
/// which what is said of them is told from what the file says.
#[derive(Debug)]
pub(crate) struct Applied {
    /// The preset's name.
    pub(crate) name: &'static str,
    /// The places of its keys.
    pub(crate) places: Range<usize>,
    /// Where the file names it.
    pub(crate) at: usize,
}

/// A preset that cannot be applied: where, what is wrong, and what to do.
#[derive(Debug)]
pub(crate) struct Misuse {
    pub(crate) at: usize,
    pub(crate) key: String,
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

/// Puts the presets that trunks name beneath the trunks' own keys. The keys `preset`, `region` and `preset_without` are
/// gone afterwards: a trunk has none such. `end` is the length of the text that `root` was read from.
pub(crate) fn apply(root: &mut DeTable<'_>, end: usize) -> (Vec<Applied>, Vec<Misuse>) {
    let mut presets = Presets { end: end + 1, applied: Vec::new(), misuses: Vec::new() };
    let signaling = root.get_mut("signaling").map(Spanned::get_mut);
    let trunks = match signaling {
        Some(DeValue::Table(signaling)) => signaling.get_mut("trunks").map(Spanned::get_mut),
        _ => None,
    };
    if let Some(DeValue::Array(trunks)) = trunks {
        for (index, trunk) in trunks.iter_mut().enumerate() {
            if let DeValue::Table(trunk) = trunk.get_mut() {
                presets.apply(trunk, index);
            }
        }
    }
    (presets.applied, presets.misuses)
}

struct Presets {
    /// The first place that nothing has.
    end: usize,
    applied: Vec<Applied>,
    misuses: Vec<Misuse>,
}

impl Presets {
    fn apply(&mut self, trunk: &mut DeTable<'_>, index: usize) {
        let [preset, region, without] = ["preset", "region", "preset_without"].map(|key| trunk.remove_entry(key));
        let key = |name: &str| format!("signaling.trunks[{index}].{name}");
        let Some((place, preset)) = preset else {
            for (stray, _) in [region, without].into_iter().flatten() {
                let name = stray.get_ref().as_ref();
                let remedy = "add `preset = \"...\"`, or remove it";
                self.misuse(stray.span().start, key(name), "the trunk has no preset".into(), remedy.into());
            }
            return;
        };
        let at = place.span().start;
        let Some(found) = preset.get_ref().as_str().and_then(find) else {
            let problem = match preset.get_ref().as_str() {
                Some(name) => format!("no preset is called {name:?}"),
                None => "no name of a preset".into(),
            };
            return self.misuse(preset.span().start, key("preset"), problem, format!("use one of: {}", names()));
        };
        let name = found.name;
        let regions = found.regions();
        let chosen = region.as_ref().and_then(|(_, region)| region.get_ref().as_str());
        match (&region, chosen.filter(|chosen| regions.iter().any(|region| region == chosen))) {
            (Some((place, _)), _) if regions.is_empty() => {
                let problem = format!("preset {name:?} has no regions");
                self.misuse(place.span().start, key("region"), problem, "remove it".into());
            }
            (Some((_, wrong)), None) => {
                let problem = format!("preset {name:?} has no such region");
                self.misuse(wrong.span().start, key("region"), problem, format!("use one of: {}", regions.join(", ")));
            }
            (None, _) if !regions.is_empty() => {
                let problem = format!("preset {name:?} needs `region`");
                let remedy = format!("add `region = \"{}\"`; there are {}", regions[0], regions.join(", "));
                self.misuse(at, key("preset"), problem, remedy);
            }
            _ => {}
        }

        let mut keys = found.trunk(chosen);
        if let Some((_, without)) = &without {
            self.leave_out(&mut keys, without, name, &key("preset_without"));
        }
        for need in found.head().needs {
            if need.keys.iter().all(|path| value(trunk, path).is_none()) {
                let problem = format!("preset {name:?} needs `{}`", need.keys.join("` or `"));
                self.misuse(at, key("preset"), problem, format!("add `{}` with a value of yours", need.example));
            }
        }
        under(trunk, &moved(&keys, self.end));
        let places = self.end..self.end + found.text.len() + 1;
        self.end = places.end;
        self.applied.push(Applied { name, places, at });
    }

    /// Takes what the trunk wants to do without out of the preset's keys.
    fn leave_out(&mut self, keys: &mut DeTable<'static>, without: &Spanned<DeValue<'_>>, name: &str, key: &str) {
        let Some(paths) = without.get_ref().as_array() else {
            let remedy = "write a list: [\"limits.outbound.barred\"]".into();
            return self.misuse(without.span().start, key.into(), "no list of keys".into(), remedy);
        };
        for (index, path) in paths.iter().enumerate() {
            if !path.get_ref().as_str().is_some_and(|path| remove(keys, path)) {
                let problem = format!("preset {name:?} does not say this");
                let remedy = format!("name one of its keys, as `moorline preset show {name}` prints them");
                self.misuse(path.span().start, format!("{key}[{index}]"), problem, remedy);
            }
        }
    }

    fn misuse(&mut self, at: usize, key: String, problem: String, remedy: String) {
        self.misuses.push(Misuse { at, key, problem, remedy });
    }
}

/// Adds what a table lacks from another: tables key by key, everything else whole.
pub(super) fn under<'t>(own: &mut DeTable<'t>, other: &DeTable<'t>) {
    for (key, value) in other {
        match (own.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut), value.get_ref()) {
            (None, _) => drop(own.insert(key.clone(), value.clone())),
            (Some(DeValue::Table(own)), DeValue::Table(other)) => under(own, other),
            (Some(_), _) => {}
        }
    }
}

/// Takes the key at a path away; false if there is none.
fn remove(of: &mut DeTable<'_>, path: &str) -> bool {
    match path.split_once('.') {
        None => of.remove(path).is_some(),
        Some((first, rest)) => match of.get_mut(first).map(Spanned::get_mut) {
            Some(DeValue::Table(inner)) => remove(inner, rest),
            _ => false,
        },
    }
}

/// The same keys and values, so many places further on.
fn moved(table: &DeTable<'static>, by: usize) -> DeTable<'static> {
    let key = |key: &Spanned<DeString<'static>>| Spanned::new(further(key.span(), by), key.get_ref().clone());
    table.iter().map(|(name, value)| (key(name), moved_value(value, by))).collect()
}

fn moved_value(value: &Spanned<DeValue<'static>>, by: usize) -> Spanned<DeValue<'static>> {
    let moved = match value.get_ref() {
        DeValue::Table(table) => DeValue::Table(moved(table, by)),
        DeValue::Array(elements) => {
            let mut array = DeArray::new();
            elements.iter().for_each(|element| array.push(moved_value(element, by)));
            DeValue::Array(array)
        }
        plain => plain.clone(),
    };
    Spanned::new(further(value.span(), by), moved)
}

fn further(span: Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}
