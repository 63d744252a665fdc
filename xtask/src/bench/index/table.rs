//! The table that closes a run: a section for each kind of figure, a column for each index.

use std::fmt;

use serde_json::Value;

use super::Figures;

/// Who has a column of its own, by what stands in a figure's name.
const COLUMNS: [&str; 12] = [
    "llmd",
    "best_peer",
    "dynamo",
    "dynamo_crtc",
    "dynamo_radix",
    "dynamo_positional",
    "dynamo_chain",
    "smg",
    "smg_find_matches",
    "smg_score_into",
    "xxh3",
    "read",
];

#[derive(Debug)]
pub(super) struct Table<'a>(pub(super) &'a Figures);

/// Figures whose names begin with the same two words.
#[derive(Debug)]
struct Section<'a> {
    name: String,
    rows: Vec<(String, Vec<(&'static str, &'a Value)>)>,
}

impl<'a> Table<'a> {
    fn sections(&self) -> Vec<Section<'a>> {
        let mut sections: Vec<Section<'a>> = Vec::new();
        for (figure, value) in self.0 {
            let mut words: Vec<_> = figure.split('.').collect();
            let rest = words.split_off(words.len().min(2));
            let (name, mut column, mut row) = (words.join("."), COLUMNS[0], Vec::new());
            for word in rest {
                match COLUMNS.into_iter().find(|column| *column == word) {
                    Some(named) => column = named,
                    None => row.push(word),
                }
            }
            let row = row.join(".");
            let section = match sections.iter().position(|section| section.name == name) {
                Some(place) => &mut sections[place],
                None => sections.push_mut(Section { name, rows: Vec::new() }),
            };
            let cells = match section.rows.iter().position(|(known, _)| *known == row) {
                Some(place) => &mut section.rows[place].1,
                None => &mut section.rows.push_mut((row, Vec::new())).1,
            };
            cells.push((column, value));
        }
        sections
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Section { name, rows } in self.sections() {
            let has = |column: &str| rows.iter().any(|(_, cells)| cells.iter().any(|(of, _)| *of == column));
            let columns: Vec<_> = COLUMNS.into_iter().filter(|column| has(column)).collect();
            write!(f, "{name:32}")?;
            columns.iter().try_for_each(|column| write!(f, " {column:>17}"))?;
            writeln!(f)?;
            for (row, cells) in rows {
                write!(f, "  {row:30}")?;
                for column in &columns {
                    let cell = cells.iter().find(|(of, _)| of == column).map(|(_, value)| shown(value));
                    write!(f, " {:>17}", cell.unwrap_or_default())?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// Three digits that say something.
fn shown(value: &Value) -> String {
    match (value.as_str(), value.as_u64(), value.as_f64()) {
        (Some(text), ..) => text.to_owned(),
        (_, Some(whole), _) => whole.to_string(),
        (_, _, Some(number)) if number >= 100.0 => format!("{number:.0}"),
        (_, _, Some(number)) if number >= 10.0 => format!("{number:.1}"),
        (_, _, Some(number)) => format!("{number:.2}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_figure_stands_in_the_column_of_its_index() {
        let Value::Object(figures) = json!({
            "index.fanout_us.10k": 0.204, "index.fanout_us.10k.smg": 45.67, "index.fanout_us.1m": 0.3,
            "index.fanout_us.1m.smg": "panicked", "index.fuzz_wrong.llmd.tail": 0, "hash.ratio_to_xxh3": 0.5,
        }) else {
            panic!("an object was written")
        };

        let table = Table(&figures).to_string();

        let words = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(
            words.collect::<Vec<_>>(),
            [
                "index.fanout_us llmd smg",
                "10k 0.20 45.7",
                "1m 0.30 panicked",
                "index.fuzz_wrong llmd",
                "tail 0",
                "hash.ratio_to_xxh3 llmd",
                "0.50",
            ]
        );
    }
}
