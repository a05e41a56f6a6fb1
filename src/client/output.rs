//! Standard output: lines for people, JSON, JSON lines or CSV, each row written as it comes.
//!
//! What agents sent is hostile: control and direction characters are made visible or escaped in every format, and cells of
//! CSV that a spreadsheet would take for a formula begin with an apostrophe.

use super::answer::Answer;
use super::printable;
use super::rows::{self, COLUMNS, Row, Show};
use crate::error::{ExitClass, ProgramError};
use crate::limits;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One array.
    Json,
    /// One object a line.
    JsonLines,
    /// With a header.
    Csv,
}

impl Format {
    /// Reads the word of `--format`.
    pub fn parse(text: &str) -> Result<Format, String> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            "jsonl" => Ok(Format::JsonLines),
            "csv" => Ok(Format::Csv),
            _ => Err(format!("'{text}' is none of text, json, jsonl and csv")),
        }
    }
}

/// Writes rows in one format.
pub struct Output<W: Write = BufWriter<Stdout>> {
    format: Format,
    writer: W,
    count: usize,
    /// Records for people on a terminal, until they are printed aligned.
    table: Option<Table>,
}

impl Output {
    /// To standard output.
    pub fn new(format: Format) -> Output {
        let is_aligned = format == Format::Text && io::stdout().is_terminal();
        Output { table: is_aligned.then(Table::new), ..Output::to(format, BufWriter::new(io::stdout())) }
    }
}

impl<W: Write> Output<W> {
    /// To a writer.
    pub fn to(format: Format, writer: W) -> Output<W> {
        Output { format, writer, count: 0, table: None }
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Writes what an agent answered, and flushes it: another answer may take long.
    pub fn answer(&mut self, action: u64, answer: &Answer, modules: &[String], show: Show) -> Result<(), ProgramError> {
        if self.format == Format::Text {
            for (index, result) in answer.results.iter().enumerate() {
                let is_shown =
                    show.includes(result.foundanything) || has_mixed_entries(modules.get(index), result, show);
                if !is_shown || !rows::has_looked(answer, result, show) {
                    continue;
                }
                for line in rows::lines(modules.get(index).map_or("", String::as_str), result, show) {
                    self.line(&format!("{} {line}", answer.agent))?;
                }
            }
        } else {
            rows::rows(action, answer, modules, show, |row| self.row(row))?;
        }
        self.writer.flush().or_else(closed)
    }

    /// Writes a line for people.
    pub fn line(&mut self, line: &str) -> Result<(), ProgramError> {
        self.count += 1;
        writeln!(self.writer, "{}", printable(line)).or_else(closed)
    }

    /// Writes a row of results.
    fn row(&mut self, row: &Row) -> Result<(), ProgramError> {
        self.record(&COLUMNS, &row.cells(), row)
    }

    /// Writes a record: its cells, or the object.
    pub fn record(&mut self, columns: &[&str], cells: &[String], object: &impl Serialize) -> Result<(), ProgramError> {
        let is_first = self.count == 0;
        self.count += 1;
        match self.format {
            Format::Text => return self.aligned(columns, cells),
            Format::Json => write!(self.writer, "{}{}", if is_first { "[\n" } else { ",\n" }, json(object)),
            Format::JsonLines => writeln!(self.writer, "{}", json(object)),
            Format::Csv => {
                let header = is_first.then(|| csv_line(columns.iter().map(|column| (*column).to_owned())));
                let line = csv_line(cells.iter().map(|cell| csv_cell(cell)));
                write!(self.writer, "{}{line}", header.unwrap_or_default())
            }
        }
        .or_else(closed)
    }

    /// Writes a record for people: tab-separated, on a terminal in columns.
    fn aligned(&mut self, columns: &[&str], cells: &[String]) -> Result<(), ProgramError> {
        let cells: Vec<String> = cells.iter().map(|cell| printable(cell)).collect();
        let Some(table) = &mut self.table else {
            return writeln!(self.writer, "{}", cells.join("\t")).or_else(closed);
        };
        if table.row_count() == 0 {
            table.load_style(NOTHING).set_header(columns.iter().map(|column| column.to_uppercase()));
        }
        table.add_row(cells);
        if table.row_count() >= limits::CLIENT_TABLE_ROWS { self.end_table() } else { Ok(()) }
    }

    fn end_table(&mut self) -> Result<(), ProgramError> {
        let Some(table) = self.table.as_mut().filter(|table| table.row_count() > 0) else { return Ok(()) };
        let text = std::mem::take(table).trim_fmt();
        writeln!(self.writer, "{text}").or_else(closed)
    }

    /// Ends the output; `columns` are those of an output without rows.
    pub fn finish(mut self, columns: &[&str]) -> Result<(), ProgramError> {
        self.end_table()?;
        let ended = match (self.format, self.count) {
            (Format::Json, 0) => writeln!(self.writer, "[]"),
            (Format::Json, _) => writeln!(self.writer, "\n]"),
            (Format::Csv, 0) => write!(self.writer, "{}", csv_line(columns.iter().map(|column| (*column).to_owned()))),
            _ => Ok(()),
        };
        ended.and_then(|()| self.writer.flush()).or_else(closed)
    }
}

/// Whether a file's result has entries of the other kind: one of its searches found something, another did not.
fn has_mixed_entries(module: Option<&String>, result: &crate::modules::ModuleResult, show: Show) -> bool {
    module.is_some_and(|module| module == "file") && show == Show::NotFound && result.foundanything
}

/// Writes a text that is what was asked for: that it is lost is an error.
pub fn write(text: &str) -> Result<(), ProgramError> {
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).or_else(closed)
}

/// A reader that has enough (`| head`) ends the program without a message.
fn closed(error: io::Error) -> Result<(), ProgramError> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Err(ProgramError::new(ExitClass::Io, ""));
    }
    Err(ProgramError::new(ExitClass::Io, format!("write to standard output: {error}")))
}

/// An object as JSON without the characters that a terminal interprets; they occur only in strings, where they may be escaped.
fn json(object: &impl Serialize) -> String {
    let text = serde_json::to_string(object).unwrap_or_default();
    text.chars().fold(String::with_capacity(text.len()), |mut text, c| {
        if is_interpreted(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        } else {
            text.push(c)
        }
        text
    })
}

/// Control characters, and those that change the direction of text or have no width.
fn is_interpreted(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// A cell without control characters that no spreadsheet takes for a formula.
fn csv_cell(text: &str) -> String {
    let visible: String = text.chars().fold(String::new(), |mut cell, c| {
        if is_interpreted(c) {
            cell.extend(c.escape_default())
        } else {
            cell.push(c)
        }
        cell
    });
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{visible}") } else { visible }
}

fn csv_line(cells: impl Iterator<Item = String>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory cannot fail.
    let _ = writer.write_record(cells.collect::<Vec<_>>());
    String::from_utf8_lossy(&writer.into_inner().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file whose name has an escape sequence, a formula and a change of direction.
    const HOSTILE: &str = "=1\u{1b}[31m\u{9b}\u{202e}\u{e0041}\u{61c}\"x\",\ny";

    fn written(format: Format, path: &str) -> String {
        let text = serde_json::json!({
            "id": 5, "status": "success", "agent": {"name": "a\u{1b}]0;b"},
            "results": [{"foundanything": true, "success": true, "statistics": {}, "elements": {"s1": [
                {"file": path, "fileinfo": {"size": 3, "mode": "-rw-r--r--", "lastmodified": "now"}, "search": {}},
                {"file": "", "fileinfo": {"size": 0}, "search": {}}
            ]}}]
        });
        let answer = Answer::parse(&text.to_string()).unwrap();
        let mut bytes = Vec::new();
        let mut output = Output::to(format, &mut bytes);
        output.answer(1, &answer, &["file".into()], Show::Found).unwrap();
        output.finish(&COLUMNS).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_format_lets_an_agent_write_to_the_terminal() {
        for format in [Format::Text, Format::Json, Format::JsonLines, Format::Csv] {
            let text = written(format, HOSTILE);
            assert!(!text.chars().any(|c| c != '\n' && is_interpreted(c)), "{format:?}: {text:?}");
        }
    }

    #[test]
    fn csv_has_no_formulas_and_reads_back() {
        let text = written(Format::Csv, HOSTILE);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(&record[6], "'=1\\u{1b}[31m\\u{9b}\\u{202e}\\u{e0041}\\u{61c}\"x\",\\ny");
        assert_eq!((&record[7], &record[8]), ("3", "'-rw-r--r--"));
        assert_eq!(record.len(), COLUMNS.len());
    }

    #[test]
    fn json_reads_back_unchanged() {
        let rows: serde_json::Value = serde_json::from_str(&written(Format::Json, HOSTILE)).unwrap();
        assert_eq!(rows[0]["path"], HOSTILE);
        assert_eq!(rows.as_array().unwrap().len(), 1, "the entry without a file was not found");
        let names = rows[0].as_object().unwrap().keys().collect::<Vec<_>>();
        assert!(COLUMNS.iter().all(|column| names.iter().any(|name| name == column)), "{names:?}");
        let line: serde_json::Value = serde_json::from_str(&written(Format::JsonLines, HOSTILE)).unwrap();
        assert_eq!(line, rows[0]);
    }

    #[test]
    fn an_output_without_rows_is_complete() {
        for (format, text) in [(Format::Json, "[]\n"), (Format::JsonLines, ""), (Format::Csv, "a,b\n")] {
            let mut bytes = Vec::new();
            Output::to(format, &mut bytes).finish(&["a", "b"]).unwrap();
            assert_eq!(String::from_utf8(bytes).unwrap(), text);
        }
    }
}
