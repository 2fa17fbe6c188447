//! A preset as a trunk that can stand in a configuration, with the comments of its file.

use super::Preset;

/// A part of a preset's file: the comment above a header, the header, and what stands below.
#[derive(Default)]
struct Section<'t> {
    comment: Vec<&'t str>,
    header: &'t str,
    lines: Vec<&'t str>,
}

impl Preset {
    /// A `[[signaling.trunks]]` that says what the preset says. Of a preset with regions the keys of those that were not
    /// chosen are comments, and so are those of all where none was.
    pub(super) fn as_trunk(&self, region: Option<&str>) -> String {
        let sections = sections(self.text);
        let mut out = String::new();
        let line = |out: &mut String, text: &str| out.extend([text, "\n"]);
        sections.iter().take(1).flat_map(|first| &first.comment).for_each(|text| line(&mut out, text));
        line(&mut out, "[[signaling.trunks]]");
        line(&mut out, &format!("name = \"{}\"", self.name));
        line(&mut out, "# The listener that it is reached through, and what else only you know:");
        line(&mut out, "listener = \"carrier\"");
        for need in self.head().needs {
            line(&mut out, &need.example);
        }
        for section in &sections {
            let Some(name) = section.header.strip_prefix("[regions.").and_then(|rest| rest.strip_suffix(']')) else {
                continue;
            };
            let mark = if region == Some(name) { "" } else { "# " };
            line(&mut out, &format!("# Region {name}:"));
            section.comment.iter().for_each(|text| line(&mut out, text));
            section.lines.iter().for_each(|text| line(&mut out, &format!("{mark}{text}")));
        }
        for section in &sections {
            let inner = section.header.strip_prefix("[trunk.").and_then(|rest| rest.strip_suffix(']'));
            if section.header != "[trunk]" && inner.is_none() {
                continue;
            }
            if let Some(inner) = inner {
                line(&mut out, "");
                section.comment.iter().for_each(|text| line(&mut out, text));
                line(&mut out, &format!("[signaling.trunks.{inner}]"));
            }
            section.lines.iter().for_each(|text| line(&mut out, text));
        }
        out
    }
}

/// The parts of a file, without blank lines at their ends. The comment right above a header belongs to it; the first
/// part's is the one that the file begins with.
fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut pending: Vec<&str> = Vec::new();
    for line in text.lines() {
        let is_header = line.starts_with('[') && line.ends_with(']');
        match sections.last_mut() {
            _ if is_header => {
                let lines = std::mem::take(&mut pending);
                let comment = lines.into_iter().filter(|line| !line.is_empty()).collect();
                sections.push(Section { comment, header: line, lines: Vec::new() });
            }
            _ if line.is_empty() || line.starts_with('#') => pending.push(line),
            Some(section) => {
                section.lines.append(&mut pending);
                section.lines.push(line);
            }
            None => pending.push(line),
        }
    }
    sections
}
