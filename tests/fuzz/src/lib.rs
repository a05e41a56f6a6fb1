//! What must hold for any bytes from outside: one function per parser, which panics when it does not.
//!
//! libFuzzer calls these functions (`src/bin/`, `scripts/fuzz.sh`), and so does every test run, with the committed seeds
//! (`tests/reliability/parsers.rs` of the main package uses it). That nothing panics by itself, hangs or fills the memory is
//! watched by the callers.

mod documents;
mod expression;
mod keys;
mod names;
mod settings;
mod target;
mod values;

/// A parser of bytes from outside.
pub struct Parser {
    /// Names its fuzz target and its directory of seeds.
    pub name: &'static str,
    /// Panics when a promise about these bytes is broken.
    pub check: fn(&[u8]),
}

/// Every parser of bytes from outside.
pub const PARSERS: [Parser; 15] = [
    Parser { name: "action", check: documents::action },
    Parser { name: "command", check: documents::command },
    Parser { name: "result", check: documents::result },
    Parser { name: "heartbeat", check: documents::heartbeat },
    Parser { name: "events", check: documents::events },
    Parser { name: "parameters", check: values::parameters },
    Parser { name: "json", check: values::json },
    Parser { name: "acl", check: settings::acl },
    Parser { name: "whitelist", check: settings::whitelist },
    Parser { name: "configuration", check: settings::configuration },
    Parser { name: "target", check: target::target },
    Parser { name: "keyring", check: keys::keyring },
    Parser { name: "signature", check: keys::signature },
    Parser { name: "file-name", check: names::file_name },
    Parser { name: "expression", check: expression::expression },
];

/// Runs the parser of that name.
pub fn check(name: &str, data: &[u8]) {
    let parser = PARSERS.iter().find(|parser| parser.name == name).expect("a parser's name");
    (parser.check)(data);
}
