//! From a key's path to its line, and from a position in the file to the key there.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Fault;
use crate::preset::Applied;

/// A parsed file, kept to tell where its keys are.
pub(super) struct Document<'t> {
    pub(super) text: &'t str,
    pub(super) root: DeTable<'t>,
    /// The presets beneath its trunks, whose keys have places behind the text.
    pub(super) presets: Vec<Applied>,
}

/// Where a path leads.
pub(super) enum Position {
    /// To this place in the text.
    Exact(usize),
    /// The file does not say the whole path; this is the closest part of it that it says.
    Closest(usize),
}

/// A key found by its place in the text.
pub(super) struct Found {
    /// Its path.
    pub(super) path: String,
}

impl Position {
    pub(super) fn is_exact(&self) -> bool {
        matches!(self, Position::Exact(_))
    }

    fn offset(&self) -> usize {
        match self {
            Position::Exact(offset) | Position::Closest(offset) => *offset,
        }
    }
}

impl Document<'_> {
    /// Where `path`, such as `signaling.trunks[1].listener`, is said.
    pub(super) fn position(&self, path: &str) -> Position {
        let mut at = 0;
        let mut table = Some(&self.root);
        for segment in path.split('.') {
            let (name, indices) = segment.split_once('[').map_or((segment, ""), |(name, rest)| (name, rest));
            let entry = table.and_then(|table| table.iter().find(|(key, _)| key.get_ref() == name));
            let Some((key, mut value)) = entry else { return Position::Closest(at) };
            at = key.span().start;
            for index in indices.split('[').filter(|index| !index.is_empty()) {
                let index = index.trim_end_matches(']').parse::<usize>().ok();
                let element = index.and_then(|index| value.get_ref().get(index));
                let Some(element) = element else { return Position::Closest(at) };
                (value, at) = (element, start_of(element));
            }
            table = value.get_ref().as_table();
        }
        Position::Exact(at)
    }

    /// A fault at `path`.
    pub(super) fn fault(&self, path: String, problem: String, remedy: String) -> Fault {
        self.fault_at(self.position(&path).offset(), path, problem, remedy)
    }

    /// A fault at a place in the text. What a preset says is told where the trunk names the preset.
    pub(super) fn fault_at(&self, offset: usize, key: String, problem: String, remedy: String) -> Fault {
        if let Some(preset) = self.presets.iter().find(|preset| preset.places.contains(&offset)) {
            let problem = format!("{problem} (preset {:?} says so)", preset.name);
            return self.fault_at(preset.at, key, problem, format!("{remedy}; a key of the trunk's own wins"));
        }
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Fault { line, column, key, problem, remedy }
    }
}

/// Where a value starts. A table without braces has no place of its own: its first key stands for it.
fn start_of(value: &Spanned<DeValue<'_>>) -> usize {
    let first_key = || value.get_ref().as_table().and_then(|table| table.keys().map(|key| key.span().start).min());
    let span = value.span();
    if span.is_empty() { first_key().unwrap_or(span.start) } else { span.start }
}

/// The key, or the key with the plain value, that the text at `place` belongs to.
pub(super) fn find(table: &DeTable<'_>, place: &Range<usize>) -> Option<Found> {
    find_in_table(table, place.start, "").map(|path| Found { path })
}

fn find_in_table(table: &DeTable<'_>, at: usize, prefix: &str) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let path = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        if key.span().contains(&at) {
            return Some(path);
        }
        find_in_value(value, at, path)
    })
}

fn find_in_value(value: &Spanned<DeValue<'_>>, at: usize, path: String) -> Option<String> {
    match value.get_ref() {
        DeValue::Table(table) => find_in_table(table, at, &path),
        DeValue::Array(elements) => {
            let inside = elements
                .iter()
                .enumerate()
                .find_map(|(index, element)| find_in_value(element, at, format!("{path}[{index}]")));
            inside.or_else(|| value.span().contains(&at).then_some(path))
        }
        _ => value.span().contains(&at).then_some(path),
    }
}

/// Takes the key at `at`, or the key whose plain value is there, out of the tree. False if there is none.
pub(super) fn remove(table: &mut DeTable<'_>, at: usize) -> bool {
    let mut hit = None;
    for (key, value) in table.iter_mut() {
        if key.span().contains(&at) {
            hit = Some(key.clone());
            break;
        }
        let plain = !value.get_ref().is_table() && !holds_tables(value.get_ref());
        if plain && value.span().contains(&at) {
            hit = Some(key.clone());
            break;
        }
        if !plain && remove_inside(value.get_mut(), at) {
            return true;
        }
    }
    hit.is_some_and(|key| table.remove(&key).is_some())
}

fn holds_tables(value: &DeValue<'_>) -> bool {
    value.as_array().is_some_and(|elements| elements.iter().any(|element| element.get_ref().is_table()))
}

fn remove_inside(value: &mut DeValue<'_>, at: usize) -> bool {
    match value {
        DeValue::Table(table) => remove(table, at),
        DeValue::Array(elements) => elements.iter_mut().any(|element| remove_inside(element.get_mut(), at)),
        _ => false,
    }
}
