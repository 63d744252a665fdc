//! The table that closes a run of benches.

use std::fmt;

use super::estimates::{Case, Row};

/// One block per case: what each row takes, per call and per element, and how llmd compares with it.
#[derive(Debug)]
pub(crate) struct Table<'a>(pub(crate) &'a [Case]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in self.0 {
            writeln!(f, "{}", case.name)?;
            let ratios = case.ratios();
            for Row { who, nanoseconds, elements } in &case.rows {
                write!(f, "  {who:16} {:>12}", duration(*nanoseconds))?;
                match elements {
                    Some(elements) => write!(f, "  {:>9.2} ns each", nanoseconds / *elements as f64)?,
                    None => write!(f, "  {:17}", "")?,
                }
                if let Some((_, ratio)) = ratios.iter().find(|(other, _)| other == who) {
                    write!(f, "  llmd takes {ratio:.2} times as long")?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        ..1e3 => format!("{nanoseconds:.1} ns"),
        1e3..1e6 => format!("{:.2} µs", nanoseconds / 1e3),
        _ => format!("{:.2} ms", nanoseconds / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_it_takes_and_how_llmd_compares() {
        let row = |who: &str, nanoseconds| Row { who: who.into(), nanoseconds, elements: Some(4) };
        let cases = [Case { name: "hash.chain".into(), rows: vec![row("llmd", 3e6), row("limit_read", 1500.0)] }];

        let table = Table(&cases).to_string();

        assert!(
            table.contains("limit_read            1.50 µs     375.00 ns each  llmd takes 2000.00 times as long"),
            "{table}"
        );
        assert!(table.contains("3.00 ms"), "{table}");
    }
}
