//! A table of text: aligned for a terminal, or as Markdown.

/// Rows under a head; the first column is aligned left, the others right.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { head: head.map(str::to_owned).to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// For a terminal: a line under the head, two spaces between columns.
    pub(crate) fn text(&self) -> String {
        let widths = self.widths();
        let rule: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
        let lines = [&self.head, &rule].into_iter().chain(&self.rows);
        lines.map(|cells| format!("{}\n", pad(cells, &widths).join("  ").trim_end())).collect()
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        let widths = self.widths();
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule = widths.iter().enumerate().map(|(column, &width)| match column {
            0 => "-".repeat(width),
            _ => format!("{}:", "-".repeat(width.max(2) - 1)),
        });
        let head = line(pad(&self.head, &widths)) + &line(rule.collect());
        self.rows.iter().fold(head, |text, row| text + &line(pad(row, &widths)))
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let rows = std::iter::once(&self.head).chain(&self.rows);
            rows.filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0)
        };
        (0..self.head.len()).map(width).collect()
    }
}

fn pad(cells: &[String], widths: &[usize]) -> Vec<String> {
    let aligned = cells.iter().zip(widths).enumerate();
    aligned
        .map(|(n, (cell, &width))| if n == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["policy", "TTFT", "µs"]);
        table.row(["round robin", "12.3 s", "4"].map(str::to_owned));
        table.row(["exact", "1.02 s", "105"].map(str::to_owned));
        table
    }

    #[test]
    fn columns_are_aligned_for_a_terminal() {
        expect![[r"
              policy         TTFT   µs
              ───────────  ──────  ───
              round robin  12.3 s    4
              exact        1.02 s  105
        "]]
        .assert_eq(&table().text());
    }

    #[test]
    fn and_in_markdown() {
        expect![[r"
            | policy      |   TTFT |  µs |
            | ----------- | -----: | --: |
            | round robin | 12.3 s |   4 |
            | exact       | 1.02 s | 105 |
        "]]
        .assert_eq(&table().markdown());
    }
}
