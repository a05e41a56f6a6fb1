//! Names: what a shell, a terminal or a careless program would trip over.

use super::bench::Outcome::{Accepted, LeftAlone};
use super::bench::{Bench, Outcome, Row, refused, text};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Names that are as good as any other. Half of them is given to a good action, half to a bad one.
const ODD: [&[u8]; 34] = [
    b"-rf.json",
    b"--help.json",
    b" leading and trailing .json",
    b"two\nlines.json",
    b"\rcarriage\treturn.json",
    b"\x1b[31mred\x1b]0;title\x07.json",
    b"\x7f\x08.json",
    b"\xff\xfe\xfd.json",
    b"half a character \xc3.json",
    "ёж 😀.json".as_bytes(),
    "\u{202e}nosj.evil.json".as_bytes(),
    "two\u{2028}lines.json".as_bytes(),
    b"*.json",
    b"?.json",
    b"[a-z].json",
    b"{a,b}.json",
    b"$(touch canary).json",
    b"`touch canary`.json",
    b";touch canary;.json",
    b"|canary.json",
    b"&.json",
    b">canary.json",
    b"'.json",
    b"\".json",
    b"\\.json",
    b"a\\..\\..\\canary.json",
    b"%2e%2e%2fcanary.json",
    b"%s%n.json",
    b"~root.json",
    b"same~1.json",
    b"#.json",
    b"1.json",
    b"1-2.json",
    b"x.json.json",
];

/// Names in action/new that are no drops.
const NO_DROPS: [&[u8]; 12] = [
    b".json",
    b"..json",
    b"...json",
    b".hidden.json",
    b".hostile.json.Xy12z",
    b"hostile",
    b"hostile.json.reason",
    b"hostile.json~",
    b"hostile.json ",
    b"hostile.JSON",
    b"hostile.json\n",
    b"json",
];

fn named(what: String, name: &[u8], content: impl Into<Vec<u8>>, outcome: Outcome) -> Row {
    text(what, content, outcome).named(OsStr::from_bytes(name))
}

fn long(length: usize) -> String {
    format!("{}.json", "n".repeat(length - 5))
}

/// All of them.
pub fn rows(bench: &Bench) -> Vec<Row> {
    let signed = bench.signed().to_string();
    let wrong = || refused("not acceptable JSON: key must be a string at line 1 column 2");
    let mut rows = Vec::new();
    for (index, name) in ODD.into_iter().enumerate() {
        let what = |quality: &str| format!("{quality} action called {}", name.escape_ascii());
        rows.push(match index % 2 {
            0 => named(what("good"), name, signed.as_str(), Accepted),
            _ => named(what("bad"), name, "{]", wrong()),
        });
    }
    for name in NO_DROPS {
        rows.push(named(format!("called {}", name.escape_ascii()), name, signed.as_str(), LeftAlone));
    }
    // The longest name that has room for .reason behind it, and longer ones.
    let cut = format!("{}.json", "n".repeat(220));
    rows.push(named("name of 239 bytes".into(), long(239).as_bytes(), "{]", wrong()));
    rows.push(named("name of 240 bytes".into(), long(240).as_bytes(), "{]", wrong()).kept_as(&cut));
    rows.push(named("name of 255 bytes".into(), long(255).as_bytes(), "{]", wrong()).kept_as(&cut));
    rows.push(named("name of 255 bytes, good".into(), long(255).as_bytes(), signed.as_str(), Accepted));
    rows
}
