//! A program in place of a module's process, that notes in a journal what it is asked to run.

use super::write_program;
use std::path::Path;

/// Writes the program. Each line of the journal is the parameters of one operation; a process that was started ahead and
/// gets none notes nothing.
pub fn write_recorder(program: &Path, journal: &Path) {
    let result = r#"{"foundanything":true,"success":true,"elements":null,"statistics":null,"errors":null}"#;
    // The first line has the limits of the process.
    let script = format!(
        "read -r limits || exit 1\nread -r parameters || [ -n \"$parameters\" ] || exit 1\n\
         printf '%s\\n' \"$parameters\" >>'{}'\necho '{result}'",
        journal.display()
    );
    write_program(program, &script);
}
