//! Tables with aligned columns.
//!
//! Columns are separated by two blanks and as wide as their widest cell in terminal columns; numbers are set to the
//! right. The last column is cut where a line would be wider than the terminal, so that no line wraps. Cells may
//! carry colours; cells that others wrote go through [`crate::cli::progress::clean`] first.

use super::progress::{fit, width};

/// Blanks between two columns.
const GAP: usize = 2;

/// How the cells of a column are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows of cells.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Makes a table with these columns; a table whose titles are all empty has no head.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Self { columns: columns.iter().map(|(title, align)| ((*title).to_owned(), *align)).collect(), rows: Vec::new() }
    }

    /// Adds a row; cells that are missing are empty, cells beyond the last column are not shown.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let mut cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Draws the table, each line ended and no line wider than `columns` columns where that is given.
    pub fn render(&self, columns: Option<usize>) -> String {
        let titles: Vec<String> = self.columns.iter().map(|(title, _)| title.clone()).collect();
        let head = titles.iter().any(|title| !title.is_empty()).then_some(&titles);
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| self.rows.iter().chain(head).map(|row| width(&row[at])).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in head.into_iter().chain(&self.rows) {
            let line = self.line(row, &widths);
            text += &columns.map_or_else(|| line.clone(), |columns| fit(&line, columns));
            text.push('\n');
        }
        text
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        let mut owed = 0;
        for ((cell, (_, align)), column) in row.iter().zip(&self.columns).zip(widths) {
            let blanks = column - width(cell);
            let (before, after) = if *align == Align::Right { (blanks, 0) } else { (0, blanks) };
            if cell.is_empty() {
                // Blanks are written only once something follows them: no line ends with blanks.
                owed += column + GAP;
            } else {
                line += &" ".repeat(owed + before);
                line += cell;
                owed = after + GAP;
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[("test", Align::Left), ("time", Align::Right), ("says", Align::Left)]);
        table.row(["import ssl", "0.31s", "ok"]);
        table.row(["日本", "12.4s", ""]);
        table.row(["\x1b[32mvenv\x1b[0m"]);
        table
    }

    #[test]
    fn columns_are_aligned_whatever_stands_in_them() {
        assert_eq!(
            table().render(None),
            "\
test         time  says
import ssl  0.31s  ok
日本        12.4s
\x1b[32mvenv\x1b[0m
"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in 0..40 {
            for line in table().render(Some(columns)).lines() {
                assert!(width(line) <= columns, "{columns}: {line:?}");
            }
        }
    }

    #[test]
    fn a_table_without_titles_has_no_head() {
        let mut table = Table::new(&[("", Align::Left), ("", Align::Right)]);
        assert!(table.is_empty());
        table.row(["size", "5"]);
        table.row(["members", "1234"]);
        assert_eq!(table.render(None), "size        5\nmembers  1234\n");
    }
}
